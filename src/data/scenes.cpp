#include "data/scenes.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numbers>
#include <sstream>

#include "core/base/check.hpp"
#include "core/base/philox.hpp"
#include "data/jpeg_encode.hpp"
#include "data/word_vocabulary.hpp"

namespace viaduct {

namespace {

namespace fs = std::filesystem;
constexpr std::array kShapeNames{"circle", "square", "triangle", "star"};
constexpr int64_t kMainShapes = 3;  // stars are only companions: a small model takes long to tell them from triangles

struct Point {
  double x, y;
};

// The outline of a shape around (0, 0); empty for a circle.
std::vector<Point> outline(const SceneObject& o) {
  static constexpr int kCorners[] = {0, 4, 3, 10};
  std::vector<Point> corners(size_t(kCorners[int(o.shape)]));
  for (size_t k = 0; k < corners.size(); ++k) {
    double turn = o.angle + 2 * std::numbers::pi * double(k) / double(corners.size());
    double r = o.shape == SceneShape::star && k % 2 ? 0.45 * o.radius : o.radius;
    corners[k] = {r * std::sin(turn), -r * std::cos(turn)};
  }
  return corners;
}

// How far p lies outside a closed polygon, in pixels; negative inside. Distance to the nearest edge, sign by the
// even-odd rule.
double signed_distance(const std::vector<Point>& polygon, Point p) {
  double nearest = 1e30;
  bool inside = false;
  for (size_t i = 0, j = polygon.size() - 1; i < polygon.size(); j = i++) {
    Point a = polygon[i], b = polygon[j];
    double ex = b.x - a.x, ey = b.y - a.y, px = p.x - a.x, py = p.y - a.y;
    double t = std::clamp((px * ex + py * ey) / (ex * ex + ey * ey), 0.0, 1.0);
    double dx = px - t * ex, dy = py - t * ey;
    nearest = std::min(nearest, dx * dx + dy * dy);
    if ((a.y > p.y) != (b.y > p.y) && p.x < a.x + ex * (p.y - a.y) / ey) inside = !inside;
  }
  return inside ? -std::sqrt(nearest) : std::sqrt(nearest);
}

std::string describe(const SceneObject& o) {
  return fmt::format("{} {} {}", o.large ? "large" : "small", scene_colours()[size_t(o.colour)].name,
                     kShapeNames[size_t(o.shape)]);
}

// Where a is, seen from b; y grows downwards.
const char* relation(const SceneObject& a, const SceneObject& b) {
  double dx = a.x - b.x, dy = a.y - b.y;
  if (std::abs(dx) >= std::abs(dy)) return dx < 0 ? "left of" : "right of";
  return dy < 0 ? "above" : "below";
}

void place(RandomSequence& random, SceneObject& o, int size) {
  o.x = random.uniform(o.radius, size - o.radius);
  o.y = random.uniform(o.radius, size - o.radius);
}

SceneObject random_object(RandomSequence& random, SceneShape shape, int colour, bool large, int size) {
  SceneObject o{.shape = shape, .colour = colour, .large = large};
  o.radius = size * (large ? random.uniform(0.24, 0.30) : random.uniform(0.12, 0.15));
  o.angle = random.uniform(-0.25, 0.25);
  place(random, o, size);
  return o;
}

bool apart(const SceneObject& a, const SceneObject& b) {
  return std::hypot(a.x - b.x, a.y - b.y) > a.radius + b.radius + 1;
}

void write_file(const fs::path& path, const void* data, size_t bytes) {
  std::ofstream out(path, std::ios::binary);
  out.write(static_cast<const char*>(data), std::streamsize(bytes));
  out.close();
  if (!out) fail_input(fmt::format("could not write {}: is the disk full, or the folder read-only?", path.string()));
}

void write_tokenizer(const fs::path& folder, const std::string& text) {
  std::istringstream in(text);
  fs::create_directories(folder);
  for (const auto& [name, content] : word_vocabulary({std::istream_iterator<std::string>(in), {}}))
    write_file(folder / name, content.data(), content.size());
}

// Each picture with its caption and with that of the next, which is of another class: they take turns.
void write_examples(const fs::path& path, const std::vector<std::pair<std::string, std::string>>& shown) {
  std::string lines;
  auto pair = [&](const std::string& image, const std::string& caption, int label) {
    lines += nlohmann::ordered_json{{"image", image}, {"text", caption}, {"label", label}}.dump() + "\n";
  };
  for (size_t i = 0; i < shown.size(); ++i) {
    pair(shown[i].first, shown[i].second, 1);
    if (shown.size() > 1) pair(shown[i].first, shown[(i + 1) % shown.size()].second, 0);
  }
  write_file(path, lines.data(), lines.size());
}

}  // namespace

const std::vector<SceneColour>& scene_colours() {
  static const std::vector<SceneColour> colours{
      {"red", {208, 40, 40}}, {"green", {40, 150, 60}}, {"blue", {45, 80, 200}}, {"yellow", {225, 190, 30}}};
  return colours;
}

int64_t scene_class_count() { return kMainShapes * int64_t(scene_colours().size()); }

Scene compose_scene(const SceneOptions& options, int64_t i) {
  RandomSequence random(sample_key(options.seed, 0, uint64_t(i)), Draw::scene);
  int64_t which = i % scene_class_count();
  SceneObject main =
      random_object(random, SceneShape(which % kMainShapes), int(which / kMainShapes), true, options.size);
  Scene scene;
  scene.class_name = fmt::format("{}_{}", scene_colours()[size_t(main.colour)].name, kShapeNames[size_t(main.shape)]);
  if (random.uniform() < 0.4) {
    scene.objects = {main};
    scene.captions = {fmt::format("a {}", describe(main))};
    return scene;
  }
  SceneShape shape = SceneShape(random.below(kShapeNames.size()));
  SceneObject other = random_object(random, shape, int(random.below(scene_colours().size())), false, options.size);
  // Both move, because a main object in the middle may leave no room for the other one.
  while (!apart(main, other)) place(random, main, options.size), place(random, other, options.size);
  scene.objects = {main, other};
  scene.captions = {fmt::format("a {} {} a {}", describe(main), relation(main, other), describe(other)),
                    fmt::format("a {} {} a {}", describe(other), relation(other, main), describe(main))};
  return scene;
}

Image draw_scene(const SceneOptions& options, int64_t i, const Scene& scene) {
  RandomSequence random(sample_key(options.seed, 0, uint64_t(i)), Draw::scene, 1);
  std::array<double, 3> background, tint;
  for (double& channel : background) channel = random.uniform(120, 235);
  for (double& channel : tint) channel = random.uniform(-30, 30);  // from the top to the bottom
  double noise = random.uniform(2, 14);

  std::vector<std::vector<Point>> outlines;
  std::vector<std::array<double, 3>> colours;
  for (const SceneObject& o : scene.objects) {
    outlines.push_back(outline(o));
    const auto& rgb = scene_colours()[size_t(o.colour)].rgb;
    colours.push_back(
        {rgb[0] + random.uniform(-20, 20), rgb[1] + random.uniform(-20, 20), rgb[2] + random.uniform(-20, 20)});
  }

  Image image(options.size, options.size);
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      double down = double(y) / image.height;
      std::array<double, 3> pixel;
      for (size_t c = 0; c < 3; ++c) pixel[c] = background[c] + tint[c] * down;
      for (size_t k = 0; k < outlines.size(); ++k) {
        const SceneObject& o = scene.objects[k];
        Point p{x + 0.5 - o.x, y + 0.5 - o.y};
        double outside = outlines[k].empty() ? std::hypot(p.x, p.y) - o.radius : signed_distance(outlines[k], p);
        double cover = std::clamp(0.5 - outside, 0.0, 1.0);  // of this pixel: an edge is one pixel wide
        for (size_t c = 0; c < 3; ++c) pixel[c] += cover * (colours[k][c] - pixel[c]);
      }
      for (size_t c = 0; c < 3; ++c)
        image.row(y)[3 * x + int(c)] = uint8_t(std::clamp(pixel[c] + random.uniform(-noise, noise), 0.0, 255.0));
    }
  }
  return image;
}

void generate_scenes(const std::string& folder, const SceneOptions& options) {
  if (options.count < 1 || options.size < 16 || options.eval_every < 2 || options.jpeg_quality < 1 ||
      options.jpeg_quality > 100)
    fail_config(fmt::format(
        "scenes: expected count >= 1, size >= 16, eval_every >= 2 and a JPEG quality in 1..100; found count {}, "
        "size {}, eval_every {}, quality {}",
        options.count, options.size, options.eval_every, options.jpeg_quality));
  if (int64_t least = scene_class_count() * options.eval_every; options.count < least)
    fail_config(fmt::format("scenes.count = {}: expected at least {}, so that every class has a picture for evaluation",
                            options.count, least));
  if (fs::exists(folder) && !(fs::is_directory(folder) && fs::is_empty(folder)))
    fail_input(
        fmt::format("{} is there already and is not an empty folder; scenes are written only into a new one", folder));

  std::string captions[2], text;
  std::vector<std::pair<std::string, std::string>> shown;  // pictures for evaluation, each with a caption
  for (int64_t i = 0; i < options.count; ++i) {
    Scene scene = compose_scene(options, i);
    bool eval = i / scene_class_count() % options.eval_every == options.eval_every - 1;
    std::string name = fmt::format("{}/{}/{:06}.jpg", eval ? "eval" : "train", scene.class_name, i);
    fs::path path = fs::path(folder) / name;
    fs::create_directories(path.parent_path());
    std::vector<uint8_t> file = encode_jpeg(draw_scene(options, i, scene), options.jpeg_quality);
    write_file(path, file.data(), file.size());
    captions[eval] += nlohmann::ordered_json{{"image", name}, {"captions", scene.captions}}.dump() + "\n";
    for (const std::string& caption : scene.captions) text += caption + " ";
    if (eval && int64_t(shown.size()) < scene_class_count()) shown.emplace_back(name, scene.captions[0]);
  }
  write_examples(fs::path(folder) / "examples.jsonl", shown);
  write_tokenizer(fs::path(folder) / "tokenizer", text);
  write_file(fs::path(folder) / "captions-eval.jsonl", captions[1].data(), captions[1].size());
  write_file(fs::path(folder) / "captions.jsonl", captions[0].data(), captions[0].size());
}

}  // namespace viaduct
