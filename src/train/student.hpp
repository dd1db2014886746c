// Which student a teacher gets: of its own shape where nothing else is said, cut out of it, or any that fits.
#pragma once
#include "train/model_source.hpp"

namespace viaduct {

// Of a student without a folder of its own, before overrides. One that is cut out of the teacher gets its folder and
// every_layer.
ModelConfig student_config(const Config&, ModelSource& student);

// That teacher and student are given the same pixels, answer the same question, and have what task.losses compares; a
// config error says what is wrong.
void check_student(const Config&, const ModelSource& student);

}  // namespace viaduct
