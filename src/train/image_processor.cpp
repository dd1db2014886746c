#include "train/image_processor.hpp"

#include <nlohmann/json.hpp>

#include "core/base/check.hpp"
#include "core/base/json.hpp"
#include "core/base/log.hpp"

namespace viaduct {
namespace {

constexpr int64_t kMaxSide = 8192;

using Kind = ImageProcessor::Kind;

int side(const nlohmann::json& value, const char* key, const char* expected, const std::string& where) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() < 1 || value.get<uint64_t>() > uint64_t(kMaxSide))
    fail_input(fmt::format("{}: {}: expected {} from 1 to {}, found {}", where, key, expected, kMaxSide, value.dump()));
  return value.get<int>();
}

// ViT's {"height": 224, "width": 224}, or one number in older files.
void read_exact_size(const nlohmann::json& json, const std::string& where, ImageProcessor& out) {
  auto size = json.find("size");
  if (size == json.end()) return;
  if (!size->is_object()) {
    out.height = out.width = side(*size, "size", "height and width", where);
    return;
  }
  if (!size->contains("height") || !size->contains("width"))
    fail_input(
        fmt::format("{}: size: expected height and width, found {}; other rules are not supported for ViT's images",
                    where, size->dump()));
  out.height = side((*size)["height"], "size", "height and width", where);
  out.width = side((*size)["width"], "size", "height and width", where);
}

// BridgeTower's {"shortest_edge": 288}; `size` may be one number in older files. Absent or null: `fallback`.
int shortest_edge(const nlohmann::json& json, const char* key, const std::string& where, int fallback) {
  auto found = json.find(key);
  if (found == json.end() || found->is_null()) return fallback;
  if (found->is_number() && std::string_view(key) == "size") return side(*found, key, "shortest_edge", where);
  if (!found->is_object() || !found->contains("shortest_edge"))
    fail_input(
        fmt::format(R"({}: {}: expected {{"shortest_edge": {}}}, found {})", where, key, fallback, found->dump()));
  return side((*found)["shortest_edge"], key, "shortest_edge", where);
}

void read_edge_and_crop(const nlohmann::json& json, const std::string& where, ImageProcessor& out) {
  out.shortest_edge = shortest_edge(json, "size", where, out.shortest_edge);
  out.height = out.width = shortest_edge(json, "crop_size", where, out.shortest_edge);
  auto divisor = json.find("size_divisor");
  if (divisor != json.end()) out.size_divisor = side(*divisor, "size_divisor", "a number", where);
  if (!json_value<bool>(json, "do_center_crop", true, where))
    fail_input(
        fmt::format("{}: do_center_crop = false would give images of different sizes, for which the model has no "
                    "positions; set it to true",
                    where));
}

void read_channels(const nlohmann::json& json, const char* key, const std::string& where, std::array<float, 3>& out) {
  auto list = json.find(key);
  if (list == json.end() || list->is_null()) return;
  bool three = list->is_array() && list->size() == 3;
  for (size_t c = 0; three && c < 3; ++c) three = (*list)[c].is_number();
  if (!three) fail_input(fmt::format("{}: {}: expected three numbers, found {}", where, key, list->dump()));
  for (size_t c = 0; c < 3; ++c) out[c] = (*list)[c].get<float>();
}

// Which class the file asks for; the fast ones compute what the slow ones do, to a level or two.
Kind read_kind(const nlohmann::json& json, const std::string& where, Kind fallback) {
  const std::string none = fallback == Kind::vit ? "ViTImageProcessor" : "BridgeTowerImageProcessor";
  std::string older = json_value<std::string>(json, "feature_extractor_type", none, where);
  std::string kind = json_value<std::string>(json, "image_processor_type", older, where);
  if (kind == "ViTImageProcessor" || kind == "ViTImageProcessorFast" || kind == "ViTFeatureExtractor") return Kind::vit;
  if (kind == "BridgeTowerImageProcessor" || kind == "BridgeTowerImageProcessorFast") return Kind::bridgetower;
  fail_input(
      fmt::format("{}: expected image_processor_type = ViTImageProcessor or BridgeTowerImageProcessor; {} is not "
                  "supported by this version",
                  where, kind));
}

void read_exact(const nlohmann::json& json, const std::string& where, ImageProcessor& out) {
  for (const char* key : {"do_center_crop", "do_pad"})
    if (json_value<bool>(json, key, false, where))
      fail_input(fmt::format("{}: {} is not supported for ViT's images", where, key));
  read_exact_size(json, where, out);
}

}  // namespace

ImageProcessor read_image_processor(const Path& folder, const ImageProcessor& defaults) {
  Path path = folder / "preprocessor_config.json";
  if (std::filesystem::exists(path)) return parse_image_processor(read_file(path, 1 << 20), path.string(), defaults);
  if (defaults.kind == Kind::vit)
    log::info("{} is absent: images are resized to {} x {}, mean and std 0.5", path.string(), defaults.height,
              defaults.width);
  else
    log::info(
        "{} is absent: the shorter edge of an image becomes {}, then its centre of {} x {} is taken, CLIP's mean "
        "and std",
        path.string(), defaults.shortest_edge, defaults.height, defaults.width);
  return defaults;
}

ImageProcessor parse_image_processor(const std::string& text, const std::string& where,
                                     const ImageProcessor& defaults) {
  nlohmann::json json = parse_json_object(text, where);
  const Kind kind = read_kind(json, where, defaults.kind);
  ImageProcessor out = defaults;
  if (kind != defaults.kind)
    out = kind == Kind::vit ? ImageProcessor::vit(defaults.height) : ImageProcessor::bridgetower(defaults.height);
  kind == Kind::vit ? read_exact(json, where, out) : read_edge_and_crop(json, where, out);
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
  const bool crops = p.kind == Kind::bridgetower;
  nlohmann::ordered_json json;
  if (crops) json["crop_size"] = {{"shortest_edge", p.height}}, json["do_center_crop"] = true;
  json["do_convert_rgb"] = nullptr;
  json["do_normalize"] = p.do_normalize;
  if (crops) json["do_pad"] = true;
  json["do_rescale"] = p.do_rescale;
  json["do_resize"] = p.do_resize;
  json["image_mean"] = shortest(p.mean);
  json["image_processor_type"] = crops ? "BridgeTowerImageProcessor" : "ViTImageProcessor";
  json["image_std"] = shortest(p.std);
  if (crops) json["processor_class"] = "BridgeTowerProcessor";
  json["resample"] = int(p.resample);
  json["rescale_factor"] = p.rescale_factor;
  if (crops)
    json["size"] = {{"shortest_edge", p.shortest_edge}}, json["size_divisor"] = p.size_divisor;
  else
    json["size"] = {{"height", p.height}, {"width", p.width}};
  return json.dump(2) + "\n";
}

}  // namespace viaduct
