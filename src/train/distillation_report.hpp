// Teacher and student side by side, at the end of a run.
#pragma once
#include <map>
#include <optional>
#include <string>

#include "data/loader.hpp"
#include "train/distillation.hpp"
#include "train/engine.hpp"

namespace viaduct {

// Collective. Prints parameters, operations of an image, memory and images a second of inference, and loss and accuracy
// on the evaluation data where there are any; returns the numbers as metrics: teacher_parameters, student_parameters
// and so on. Images a second are those of all ranks: the best of several passes over one batch, without loading.
std::map<std::string, double> compare_with_teacher(Engine&, std::optional<Loader>& eval, Communicator&);

}  // namespace viaduct
