//! A model from a file that hardmine saved.

use super::{Capabilities, DataProfile, Model, ModelSource, Opened, cnn::CnnModel, linear::LinearModel, parameters::Parameters};
use crate::{
    error::{Error, Problem, Result},
    operator::{Configure, Table},
    random::SeedTree,
    sample::{Modality, ModalitySet},
};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// A frozen model from a safetensors file that an earlier run saved.
///
/// Method: the file's header says which architecture it is (`cnn`, `fusion`, `linear` or `onnx`) and with which classes; its weights are
/// read as they stand. The classes of the data must be those of the model, in the same order.
///
/// Reference: the safetensors format, <https://github.com/huggingface/safetensors>.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Load {
    /// The safetensors file, relative to the pipeline file.
    pub path: PathBuf,
}

/// Written as `{ path: file }`, or as the file alone.
impl<'de> Deserialize<'de> for Load {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            path: PathBuf,
        }
        struct Visit;
        impl<'de> de::Visitor<'de> for Visit {
            type Value = Load;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a file, or { path: file }")
            }
            fn visit_str<E: de::Error>(self, path: &str) -> std::result::Result<Load, E> {
                Ok(Load { path: path.into() })
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> std::result::Result<Load, A::Error> {
                Written::deserialize(de::value::MapAccessDeserializer::new(map)).map(|Written { path }| Load { path })
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

impl Configure<dyn ModelSource> for Load {
    const NAME: &'static str = "load";
    const EXAMPLE: &'static str = "{ path: model.safetensors }";
    fn build(self, _: &Table<dyn ModelSource>) -> Result<Box<dyn ModelSource>, Vec<Problem>> {
        if self.path.as_os_str().is_empty() {
            return Err(vec![Problem::new("path", "expected the path of a safetensors file, found nothing")]);
        }
        Ok(Box::new(self))
    }
}

impl ModelSource for Load {
    fn capabilities(&self) -> Capabilities {
        // The file is opened only when the run starts; what it cannot do is told then.
        let all = ModalitySet::ALL;
        let decodes = all.without(Modality::Text);
        Capabilities {
            trainable: false,
            modalities: all,
            gradients: all,
            embeddings: all,
            embedding_gradients: all,
            decodes,
            variational: decodes,
        }
    }
    fn open_at(&self, base: &Path, profile: &DataProfile, seeds: &SeedTree) -> Result<Opened> {
        Self { path: base.join(&self.path) }.open(profile, seeds)
    }
    fn open(&self, profile: &DataProfile, _: &SeedTree) -> Result<Opened> {
        let model = open(&self.path)?;
        let own = &model.spec().classes;
        if !profile.classes.is_empty() && own != &profile.classes {
            let message = format!("the model knows the classes {:?}, the data has {:?}", own.names(), profile.classes.names());
            return Err(Error::model(message).at("file", self.path.display()));
        }
        Ok(Opened::Frozen(model))
    }
}

/// Reads what [`Model::save`] of a shipped model wrote.
pub fn open(path: &Path) -> Result<Arc<dyn Model>> {
    let (header, weights) = Parameters::read(path)?;
    let opened: Result<Arc<dyn Model>> = match header.get("model").and_then(Value::as_str) {
        Some("cnn") => CnnModel::from_file(&header, weights).map(|m| Arc::new(m) as _),
        Some("linear") => LinearModel::from_file(&header, weights).map(|m| Arc::new(m) as _),
        Some("onnx") => super::onnx::from_file(&header, &weights).map(|m| Arc::new(m) as _),
        #[cfg(feature = "burn")]
        Some("fusion") => super::fusion::FusionModel::from_file(&header, weights).map(|m| Arc::new(m) as _),
        #[cfg(not(feature = "burn"))]
        Some("fusion") => Err(Error::model("a fusion model needs a build with the feature `burn`")),
        // A file of weights starts no program.
        Some("command") => {
            Err(Error::model("the file stands for a program; name it in the pipeline: `model: { command: { run: [...] } }`"))
        }
        Some(other) => Err(Error::model(format!("unknown architecture `{other}`; known: cnn, fusion, linear, onnx"))),
        None if header.get("checkpoint").is_some() => Err(Error::model("expected a model, found a training checkpoint")),
        None => Err(Error::model("the header does not name an architecture")),
    };
    opened.map_err(|e| e.at("file", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::linear::RawImage, sample::Classes};

    #[test]
    fn it_is_written_as_a_map_or_as_the_file_alone() {
        let read = |written| crate::operator::Table::<dyn ModelSource>::default().with::<Load>().build(&written);
        let resolved = serde_json::json!({ "path": "m.safetensors" });
        assert_eq!(read(serde_json::json!({ "load": "m.safetensors" })).unwrap().config, resolved);
        assert_eq!(read(serde_json::json!({ "load": { "path": "m.safetensors" } })).unwrap().config, resolved);
        let problem = read(serde_json::json!({ "load": { "pth": "m" } })).err().unwrap().remove(0);
        assert_eq!(problem.path, "load.pth");
    }

    #[test]
    fn a_saved_model_is_opened_for_its_classes_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.safetensors");
        let classes = Classes::from_names(["a", "b"].map(String::from));
        let image = RawImage { width: 1, height: 1, channels: 1, weights: vec![1.0, -1.0] };
        let model = LinearModel::from_weights(classes.clone(), vec![0.0, 0.5], Some(image), None).unwrap();
        model.save(&path).unwrap();
        let load = Load { path: path.clone() };
        let Opened::Frozen(found) = load.open(&DataProfile { classes, ..DataProfile::default() }, &SeedTree::new(0)).unwrap() else {
            panic!("expected a frozen model")
        };
        assert_eq!(found.spec(), model.spec());
        let others = DataProfile { classes: Classes::from_names(["x".to_owned()]), ..DataProfile::default() };
        assert!(load.open(&others, &SeedTree::new(0)).err().unwrap().to_string().contains("the model knows the classes"));
        std::fs::write(&path, b"x").unwrap();
        assert!(open(&path).is_err());
    }
}
