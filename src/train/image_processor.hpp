// preprocessor_config.json of a Hugging Face model folder, to and from the pipeline's settings.
#pragma once
#include <string>

#include "core/base/files.hpp"
#include "data/image_pipeline.hpp"

namespace viaduct {

// Without that file: the defaults of ViTImageProcessor for images of `image_size`, said in the log.
ImageProcessor read_image_processor(const Path& folder, int64_t image_size);
ImageProcessor parse_image_processor(const std::string& json, const std::string& where, int64_t image_size);
std::string image_processor_json(const ImageProcessor&);  // what ViTImageProcessor loads

}  // namespace viaduct
