#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod chat;
mod config;
mod error;
mod families;
mod generate;
#[cfg(feature = "hub")]
mod hub;
mod init;
mod layers;
mod lora;
mod model;
mod ops;
mod pretrained;
mod prompt;
mod rope;
mod score;
mod tokenizer;
mod value_head;
mod weights;

pub use chat::{ChatOptions, ChatTemplate, Encoded, Rendered, TemplateValue};
pub use config::{Config, Family, LlamaShape, Task};
pub use error::{Error, Result};
pub use generate::{Finish, Flow, Prepared, Request, Sample, Sampled, Sampling, Watch, generate};
#[cfg(feature = "hub")]
pub use hub::Hub;
pub use lora::LoraConfig;
pub use model::{CausalLm, Inputs};
pub use pretrained::{GenerationConfig, LoadOptions, Precision, Pretrained};
pub use prompt::{Prompt, StopTexts};
pub use rope::{Rope, RopeScaling};
pub use score::{ScoreOptions, Scored, mean_hidden, reward, score};
pub use tokenizer::Tokenizer;
pub use value_head::ValueHead;
