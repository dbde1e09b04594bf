"""A PyTorch model that hardmine scores, mines and attacks without an export:

    model: { command: { run: [python3, command_model.py], inputs: { image: { size: [32, 32], channels: 3 } }, gradients: [image], embeddings: [image], embedding_gradients: [image] } }
    train: none

`hardmine_process.py` lies beside it. Put your own network in place of `Net`; an argument names a file with its weights (name it under `files` if it is not
an argument, so that the digest of the model covers it).
"""

import sys

import torch
from hardmine_process import serve


class Net(torch.nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        relu, pool = torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(4)
        self.body = torch.nn.Sequential(torch.nn.Conv2d(channels, 16, 3, 2, 1), relu, torch.nn.Conv2d(16, 32, 3, 2, 1), relu, pool, torch.nn.Flatten())
        self.head = torch.nn.Linear(32 * 16, classes)


class Model:
    gradients = embedding_gradients = ("image",)

    def start(self, asked):
        torch.manual_seed(0)
        self.net = Net(asked["image"]["channels"], len(asked["classes"]))
        if len(sys.argv) > 1:
            self.net.load_state_dict(torch.load(sys.argv[1], weights_only=True))
        self.net.eval().requires_grad_(False)

    def forward(self, batch):
        self.image = torch.frombuffer(batch.image.data, dtype=torch.float32).view(batch.image.shape)
        self.image.requires_grad_("image" in batch.gradients)
        self.embedding = self.net.body((self.image - 0.5) / 0.25)
        self.logits = self.net.head(self.embedding)
        return {"logits": self.logits, "embedding.image": self.embedding}

    def backward(self, slope):
        return self.gradient(self.logits, slope)

    def backward_embedding(self, modality, slope):
        return self.gradient(self.embedding, slope)

    def gradient(self, of, slope):
        slope = torch.frombuffer(slope.data, dtype=torch.float32).view(slope.shape)
        return {"image": torch.autograd.grad(of, self.image, slope)[0]}


serve(Model())
