"""More of albumentations' transforms, in the manner of the peers' image_ops.py (which has the first ones)."""
import common as C

a = C.args()
import cv2  # noqa: E402
import albumentations as A  # noqa: E402

cv2.setNumThreads(1)
VER = A.__version__  # both distributions install the module "albumentations"
LIB = "albumentations" if VER.startswith("2.0.") else "albumentationsx"
X = LIB == "albumentationsx"  # 2.5 renamed arguments; a wrong name only warns and is ignored


def named(old, new, value):
    return {new if X else old: value}


OPS = {
    "webp_compression_q50": lambda s: A.ImageCompression(compression_type="webp", quality_range=(50, 50), p=1),
    "vflip": lambda s: A.VerticalFlip(p=1),
    "pad_16": lambda s: A.Pad(padding=16, p=1),
    "downscale_half": lambda s: A.Downscale(scale_range=(0.5, 0.5), interpolation_pair={
        "downscale": cv2.INTER_AREA, "upscale": cv2.INTER_LINEAR}, p=1),
    "motion_blur_k7": lambda s: A.MotionBlur(**named("blur_limit", "blur_range", (7, 7)), p=1),
    "defocus_r3": lambda s: A.Defocus(**named("radius", "radius_range", (3, 3)), p=1),
    "zoom_blur": lambda s: A.ZoomBlur(p=1),
    "glass_blur": lambda s: A.GlassBlur(p=1),
    "shot_noise": lambda s: A.ShotNoise(scale_range=(0.1, 0.3), p=1),
    "salt_and_pepper": lambda s: A.SaltAndPepper(p=1),
    "gamma": lambda s: A.RandomGamma(p=1),
    "to_gray": lambda s: A.ToGray(p=1),
    "solarize": lambda s: A.Solarize(p=1),
    "invert": lambda s: A.InvertImg(p=1),
    "posterize_4": lambda s: A.Posterize(num_bits=(4, 4), p=1),
    "equalize": lambda s: A.Equalize(p=1),
    "clahe_8x8": lambda s: A.CLAHE(**named("clip_limit", "clip_range", (4.0, 4.0)), p=1),
    "sharpen": lambda s: A.Sharpen(p=1),
    "grid_dropout": lambda s: A.GridDropout(unit_size_range=(s // 8, s // 8), p=1),
    "random_snow": lambda s: A.RandomSnow(method="texture", p=1),
    "random_shadow": lambda s: A.RandomShadow(p=1),
    "tones_4": lambda s: A.Compose([A.RandomBrightnessContrast(p=1), A.RandomGamma(p=1), A.Solarize(p=1),
                                    A.Posterize(num_bits=(4, 4), p=1)], seed=1),
}
for size in (224, 512):
    images = C.image_set(size)
    for name, make in OPS.items():
        case = f"image/{name}/{size}"
        if a.only not in case:
            continue

        def setup(make=make):
            t = make(size)
            if not isinstance(t, A.Compose):
                t = A.Compose([t], seed=1)
            return lambda i: t(image=images[i % len(images)])["image"]
        try:
            C.emit(case, LIB, VER, "images/s", C.rate_mt(setup, a.seconds, a.threads), threads=a.threads)
        except Exception as e:
            C.emit(case, LIB, VER, "error", 0, threads=a.threads, error=repr(e)[:300])
