// Every text of an image as a sample of its own: for scores of all of them, and for retrieval.
#pragma once
#include "data/dataset.hpp"

namespace viaduct {

// In order of samples and texts. The dataset itself where each of its samples has one text.
DatasetPtr each_text(DatasetPtr);

// Of samples with labels those whose text belongs to the image; all where there are no labels.
DatasetPtr matching_pairs(DatasetPtr);

}  // namespace viaduct
