// Which model [model], [task] and [data] ask for: its shape, its images and texts, where its weights are.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/ops/patch.hpp"
#include "data/image_pipeline.hpp"
#include "data/tokenizer.hpp"
#include "models/model_config.hpp"
#include "train/config.hpp"
#include "train/task_choice.hpp"

namespace viaduct {

struct ModelSource {
  ModelConfig config;
  TaskChoice choice;
  ImageProcessor processor;
  TokenizerPtr tokenizer;   // of an image-text model
  int64_t text_tokens = 0;  // of the longest batch: at first what the model or data.max_text_length allows
  std::string folder;       // of the weights; empty: random ones
  std::shared_ptr<const ModelSource> teacher;  // of a student
  int64_t every_layer = 0;                     // of the teacher, when the student is cut out of it: see load_weights

  ops::Normalization normalization() const;
  std::string architecture() const;  // Hugging Face's class with the heads of this task
  // Tokens of the longest text that the model is given.
  int64_t max_text_length(const Config&) const;
  // What a model folder needs beside config.json and the weights: file name -> text.
  std::map<std::string, std::string> more_files() const;
};

// With model.arch and task.name from the config.json of model.pretrained where they are not given: a BridgeTower learns
// what its class there does.
Config settled(Config);
// The task of resolve_model alone, which decides how data is opened.
TaskChoice resolve_task(const Config&);
// Of a settled config. `classes`: those of the data, which become the labels of a classifier; empty: the model's own
// stay. An image-text model needs a tokenizer, unless only its shape is asked for.
enum class Tokens { needed, not_needed };
ModelSource resolve_model(const Config&, const std::vector<std::string>& classes, Tokens = Tokens::needed);

}  // namespace viaduct
