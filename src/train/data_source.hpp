// What [data] names, opened as the task needs it, and the lengths of its texts.
#pragma once
#include "comm/communicator.hpp"
#include "data/loader.hpp"
#include "train/model_source.hpp"

namespace viaduct {

// data.train and data.eval: labelled images, or images with texts.
TrainEval open_data(const Config&, const TaskChoice&);
// data.eval as a source of its own, or the fraction that training holds out of data.train. `labels`: those of a
// classifier.
DatasetPtr open_eval_data(const Config&, const TaskChoice&, const std::vector<std::string>& labels);

// Collective: the ranks share the work of counting the tokens of every text. Null without a tokenizer or data.
using TextSizes = std::shared_ptr<const std::vector<TextSize>>;
TextSizes measure_texts(const Config&, const ModelSource&, const DatasetPtr&, Communicator&);
// Tokens of the longest batch that texts of these sizes can give.
int64_t longest_batch(const Config&, const ModelSource&, const std::vector<TextSizes>&);

int loader_workers(const Config&);  // data.workers, or what suits the threads of this rank
// Of this rank.
LoaderOptions loader_options(const Config&, Pass, const ModelSource&, TextSizes, const Communicator&);

}  // namespace viaduct
