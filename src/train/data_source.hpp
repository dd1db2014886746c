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

// The token counts of every text of a dataset, in order; null where there are no texts.
using TextSizes = std::shared_ptr<const std::vector<TextSize>>;
// Collective, the ranks share the work: measures the texts of the datasets, any of which may be null, and makes
// source.text_tokens the padded length of the longest batch that they can give. A model without texts stays as it is.
std::vector<TextSizes> fit_to_texts(ModelSource& source, const Config&, const std::vector<DatasetPtr>&, Communicator&);

MixOptions mix_options(const Config&);  // [augment]
int loader_workers(const Config&);      // data.workers, or what suits the threads of this rank
// Of this rank.
LoaderOptions loader_options(const Config&, Pass, const ModelSource&, TextSizes, const Communicator&,
                             Device = Device::cpu());

}  // namespace viaduct
