// preprocessor_config.json of a Hugging Face model folder, to and from the pipeline's settings.
#pragma once
#include <string>

#include "core/base/files.hpp"
#include "data/image_pipeline.hpp"

namespace viaduct {

// Without that file: `defaults`, which is ImageProcessor::vit or ::bridgetower for the model's size, said in the log. They
// also stand for what a file leaves out. A file that names the other class is read as that class.
ImageProcessor read_image_processor(const Path& folder, const ImageProcessor& defaults);
ImageProcessor parse_image_processor(const std::string& json, const std::string& where, const ImageProcessor& defaults);
std::string image_processor_json(const ImageProcessor&);  // what AutoImageProcessor and BridgeTowerProcessor load

}  // namespace viaduct
