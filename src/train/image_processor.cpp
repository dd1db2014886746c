#include "train/image_processor.hpp"

#include <nlohmann/json.hpp>

#include "core/base/check.hpp"
#include "core/base/json.hpp"
#include "core/base/log.hpp"

namespace viaduct {
namespace {

constexpr int64_t kMaxSide = 8192;

int side(const nlohmann::json& value, const std::string& where) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() < 1 || value.get<uint64_t>() > uint64_t(kMaxSide))
    fail_input(
        fmt::format("{}: size: expected height and width from 1 to {}, found {}", where, kMaxSide, value.dump()));
  return value.get<int>();
}

// {"height": 224, "width": 224}, or one number in older files.
void read_size(const nlohmann::json& json, const std::string& where, ImageProcessor& out) {
  auto size = json.find("size");
  if (size == json.end()) return;
  if (!size->is_object()) {
    out.height = out.width = side(*size, where);
    return;
  }
  if (!size->contains("height") || !size->contains("width"))
    fail_input(
        fmt::format("{}: size: expected height and width, found {}; other rules are not supported by this version",
                    where, size->dump()));
  out.height = side((*size)["height"], where), out.width = side((*size)["width"], where);
}

void read_channels(const nlohmann::json& json, const char* key, const std::string& where, std::array<float, 3>& out) {
  auto list = json.find(key);
  if (list == json.end() || list->is_null()) return;
  bool three = list->is_array() && list->size() == 3;
  for (size_t c = 0; three && c < 3; ++c) three = (*list)[c].is_number();
  if (!three) fail_input(fmt::format("{}: {}: expected three numbers, found {}", where, key, list->dump()));
  for (size_t c = 0; c < 3; ++c) out[c] = (*list)[c].get<float>();
}

void check_kind(const nlohmann::json& json, const std::string& where) {
  std::string older = json_value<std::string>(json, "feature_extractor_type", "ViTImageProcessor", where);
  std::string kind = json_value<std::string>(json, "image_processor_type", older, where);
  if (kind != "ViTImageProcessor" && kind != "ViTImageProcessorFast" && kind != "ViTFeatureExtractor")
    fail_input(fmt::format("{}: expected image_processor_type = ViTImageProcessor; {} is not supported by this version",
                           where, kind));
  for (const char* key : {"do_center_crop", "do_pad"})
    if (json_value<bool>(json, key, false, where))
      fail_input(fmt::format("{}: {} is not supported by this version", where, key));
}

}  // namespace

ImageProcessor read_image_processor(const Path& folder, int64_t image_size) {
  Path path = folder / "preprocessor_config.json";
  if (std::filesystem::exists(path)) return parse_image_processor(read_file(path, 1 << 20), path.string(), image_size);
  log::info("{} is absent: images are resized to {} x {}, mean and std 0.5", path.string(), image_size, image_size);
  return parse_image_processor("{}", path.string(), image_size);
}

ImageProcessor parse_image_processor(const std::string& text, const std::string& where, int64_t image_size) {
  ImageProcessor out;
  out.height = out.width = int(image_size);
  nlohmann::json json = parse_json_object(text, where);
  check_kind(json, where);
  read_size(json, where, out);
  out.do_resize = json_value<bool>(json, "do_resize", out.do_resize, where);
  out.do_rescale = json_value<bool>(json, "do_rescale", out.do_rescale, where);
  out.do_normalize = json_value<bool>(json, "do_normalize", out.do_normalize, where);
  out.rescale_factor = json_value<double>(json, "rescale_factor", out.rescale_factor, where);
  int64_t resample = json_value<int64_t>(json, "resample", int64_t(out.resample), where);
  if (resample < 0 || resample > int64_t(Resample::hamming))
    fail_input(fmt::format("{}: resample: expected one of PIL's numbers 0 to 5, found {}", where, resample));
  out.resample = Resample(resample);
  read_channels(json, "image_mean", where, out.mean);
  read_channels(json, "image_std", where, out.std);
  for (float s : out.std)
    if (!(s > 0)) fail_input(fmt::format("{}: image_std: expected numbers above 0, found {}", where, s));
  return out;
}

std::string image_processor_json(const ImageProcessor& p) {
  auto shortest = [](const std::array<float, 3>& channels) {  // 0.485, not 0.48500001430511475
    auto list = nlohmann::ordered_json::array();
    for (float c : channels) list.push_back(std::stod(fmt::format("{}", c)));
    return list;
  };
  nlohmann::ordered_json json = {
      {"do_convert_rgb", nullptr},          {"do_normalize", p.do_normalize},
      {"do_rescale", p.do_rescale},         {"do_resize", p.do_resize},
      {"image_mean", shortest(p.mean)},     {"image_processor_type", "ViTImageProcessor"},
      {"image_std", shortest(p.std)},       {"resample", int(p.resample)},
      {"rescale_factor", p.rescale_factor}, {"size", {{"height", p.height}, {"width", p.width}}}};
  return json.dump(2) + "\n";
}

}  // namespace viaduct
