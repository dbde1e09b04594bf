//! A burn module in evaluation.

use super::{Format, MICRO_BATCH, Network, Prepared, TensorOutput, checked, collect, host, native, place, prepare, run};
use crate::{
    error::{Error, Result},
    model::{Gradients, Input, Matrix, Model, ModelSpec, OfRow, Outputs, measure, parameters::Parameters, preprocess::Canonical},
    sample::{Modality, ModalitySet, PerModality},
};
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;
use std::path::Path;

/// A user's burn module in evaluation.
pub struct BurnModel<N> {
    module: N,
    format: Format,
    parameters: Parameters,
    canonical: Canonical,
    spec: ModelSpec,
}

impl<N: Network> BurnModel<N> {
    /// The module with the weights it has. It is run once on missing media, to see which embeddings it gives.
    pub fn new(module: N, format: Format) -> Result<Self> {
        let parameters = collect(&module, None)?;
        Self::with(module, format, parameters)
    }

    /// The module with the weights that [`Model::save`] wrote.
    pub fn load(module: N, format: Format, path: &Path) -> Result<Self> {
        let (header, parameters) = Parameters::read(path)?;
        if header != format.architecture() {
            return Err(Error::model("the file is of another format").at("file", path.display()));
        }
        collect(&module, None)?.check_like(&parameters).map_err(|e| e.at("file", path.display()))?;
        Self::with(module, format, parameters)
    }

    pub(super) fn with(module: N, format: Format, parameters: Parameters) -> Result<Self> {
        format.check()?;
        let module = place(module, &parameters, false);
        let canonical = format.canonical();
        let spec = format.spec(&parameters, ModalitySet::EMPTY);
        let mut model = Self { module, format, parameters, canonical, spec };
        let seen = model.forward(&[Input::default()])?;
        model.spec.embeddings = Modality::ALL.into_iter().filter(|m| seen.embeddings[*m].is_some()).collect();
        Ok(model)
    }
}

impl<N: Network> BurnModel<N> {
    /// The gradients of what `of` makes of each pass: values of its rows, and the part of the answer whose slope is given with it, without the rows that fill up.
    /// It is told the first row of the pass, and the logits of its rows.
    fn sloped(
        &self,
        inputs: &[Input],
        wrt: ModalitySet,
        of: impl Fn(usize, &[f32], TensorOutput) -> Result<(Vec<f32>, Tensor<2>, Vec<f32>)> + Sync,
    ) -> Result<Gradients> {
        let classes = self.format.classes.len();
        let one = |(number, part): (usize, &[Input])| {
            let Prepared { batch, images, audios } = prepare(&self.format, &self.canonical, part, MICRO_BATCH, wrt)?;
            run(|| {
                let leaves = (batch.image.clone(), batch.audio.clone());
                let seen = self.module.forward(batch);
                checked(&seen.logits, MICRO_BATCH, classes)?;
                let mut logits = host(seen.logits.clone())?;
                logits.truncate(part.len() * classes);
                let (values, answer, mut slope) = of(number * MICRO_BATCH, &logits, seen)?;
                let mut found = (vec![None; part.len()], vec![None; part.len()]);
                if answer.is_tracked() {
                    let [rows, columns] = answer.dims();
                    slope.resize(rows * columns, 0.0);
                    let slope = Tensor::<2>::from_data(TensorData::new(slope, [rows, columns]), &Device::default());
                    let gradients = (answer * slope).sum().backward();
                    found = native(leaves, &gradients, wrt, (&images, &audios), MICRO_BATCH)?;
                }
                let (mut image, mut audio) = found;
                image.resize(part.len(), None);
                audio.resize(part.len(), None);
                Ok(Gradients { objective: values, logits: Matrix { columns: classes, values: logits }, image, audio, text: Vec::new() })
            })
        };
        let parts: Vec<Gradients> = inputs.par_chunks(MICRO_BATCH).enumerate().map(one).collect::<Result<_>>()?;
        Ok(Gradients::joined(classes, parts))
    }
}

impl<N: Network> Model for BurnModel<N> {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn forward(&self, inputs: &[Input]) -> Result<Outputs> {
        let classes = self.format.classes.len();
        let one = |part: &[Input]| {
            let prepared = prepare(&self.format, &self.canonical, part, MICRO_BATCH, ModalitySet::EMPTY)?;
            run(|| {
                let output = self.module.forward(prepared.batch);
                checked(&output.logits, MICRO_BATCH, classes)?;
                let rows = |tensor: Tensor<2>| {
                    let [found, columns] = tensor.dims();
                    if found != MICRO_BATCH {
                        return Err(Error::model(format!("expected embeddings of {MICRO_BATCH} rows, the module gave {found}")));
                    }
                    let mut values = host(tensor)?;
                    values.truncate(part.len() * columns);
                    Ok(Matrix { columns, values })
                };
                let PerModality { image, audio, text } = output.embeddings;
                let [image, audio, text] = [image, audio, text].map(|e| e.map(rows).transpose());
                Ok((rows(output.logits)?, PerModality { image: image?, audio: audio?, text: text? }))
            })
        };
        let parts: Vec<(Matrix, PerModality<Option<Matrix>>)> = inputs.par_chunks(MICRO_BATCH).map(one).collect::<Result<_>>()?;
        let mut outputs = Outputs { logits: Matrix { columns: classes, values: Vec::new() }, ..Outputs::default() };
        for (logits, embeddings) in parts {
            outputs.logits.values.extend(logits.values);
            for (modality, rows) in embeddings.iter() {
                if let Some(rows) = rows {
                    let all = outputs.embeddings[modality].get_or_insert_default();
                    all.columns = rows.columns;
                    all.values.extend(&rows.values);
                }
            }
        }
        Ok(outputs)
    }

    fn logits_gradient(&self, inputs: &[Input], wrt: ModalitySet, of: OfRow<'_>) -> Result<Gradients> {
        let classes = self.format.classes.len();
        self.sloped(inputs, wrt, |first, logits, seen| {
            let (values, slope) = measure::of_rows(logits, classes, first, of);
            Ok((values, seen.logits, slope))
        })
    }

    fn embedding_gradient(&self, inputs: &[Input], modality: Modality, of: OfRow<'_>) -> Result<Gradients> {
        if modality == Modality::Text {
            return Err(Error::model("a burn module reads token numbers: their embedding has no gradient").at("modality", "text"));
        }
        self.sloped(inputs, ModalitySet::one(modality), |first, logits, seen| {
            let embedding = seen.embeddings[modality].clone();
            let embedding = embedding.ok_or_else(|| Error::model(format!("this module has no embedding of {modality}")))?;
            let (size, rows) = (embedding.dims()[1], logits.len() / self.format.classes.len().max(1));
            let mut own = host(embedding.clone())?;
            own.truncate(rows * size);
            let (values, slope) = measure::of_rows(&own, size, first, of);
            Ok((values, embedding, slope))
        })
    }

    fn save(&self, path: &Path) -> Result<()> {
        self.parameters.write(path, &self.format.architecture())
    }
}
