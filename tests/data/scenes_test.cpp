#include "data/scenes.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "core/base/check.hpp"
#include "data/decode.hpp"
#include "tests/support/messages.hpp"

namespace viaduct {
namespace {

namespace fs = std::filesystem;

struct Folder {
  fs::path path;
  explicit Folder(const char* name = "scenes")
      : path(fs::temp_directory_path() / fmt::format("viaduct-{}-{}", name, ::getpid())) {
    fs::remove_all(path);
  }
  ~Folder() { fs::remove_all(path); }
};

std::vector<uint8_t> contents(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::map<std::string, std::vector<uint8_t>> all_files(const fs::path& folder) {
  std::map<std::string, std::vector<uint8_t>> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) files[fs::relative(entry.path(), folder)] = contents(entry.path());
  return files;
}

TEST(Scenes, AreAFunctionOfTheirOptions) {
  Folder a("scenes"), b("scenes-again"), c("scenes-seed");
  SceneOptions options{.count = 40, .seed = 3, .size = 32, .eval_every = 2};
  generate_scenes(a.path, options);
  generate_scenes(b.path, options);
  EXPECT_EQ(all_files(a.path), all_files(b.path));
  options.seed = 4;
  generate_scenes(c.path, options);
  EXPECT_NE(all_files(a.path), all_files(c.path));
}

TEST(Scenes, FillAFolderPerClassEvenly) {
  Folder folder;
  SceneOptions options{.count = 10 * scene_class_count(), .size = 32, .eval_every = 5};
  generate_scenes(folder.path, options);
  std::map<std::string, int> train, eval;
  for (const auto& [name, bytes] : all_files(folder.path)) {
    if (!name.ends_with(".jpg")) continue;
    std::string class_name = fs::path(name).parent_path().filename();
    ++(name.starts_with("train/") ? train : eval)[class_name];
    Image image = decode_image(bytes);
    EXPECT_EQ(image.height, 32) << name;
    EXPECT_EQ(image.width, 32) << name;
  }
  EXPECT_EQ(int64_t(train.size()), scene_class_count());
  EXPECT_EQ(int64_t(eval.size()), scene_class_count());
  for (const auto& [name, n] : train) EXPECT_EQ(n, 8) << name;
  for (const auto& [name, n] : eval) EXPECT_EQ(n, 2) << name;
}

TEST(Scenes, CaptionFilesNameEveryPictureOfTheirSplitOnce) {
  Folder folder;
  generate_scenes(folder.path, {.count = 60, .size = 32, .eval_every = 2});
  for (const char* split : {"train", "eval"}) {
    std::set<std::string> named, there;
    std::ifstream in(folder.path / (split == std::string("train") ? "captions.jsonl" : "captions-eval.jsonl"));
    for (std::string line; std::getline(in, line);) {
      auto entry = nlohmann::json::parse(line);
      EXPECT_TRUE(named.insert(entry.at("image")).second) << line;
      EXPECT_FALSE(entry.at("captions").empty()) << line;
    }
    for (const auto& [name, bytes] : all_files(folder.path))
      if (name.starts_with(split)) there.insert(name);
    EXPECT_FALSE(there.empty());
    EXPECT_EQ(named, there);
  }
}

TEST(Scenes, ExamplesPairHeldOutPicturesWithARightAndAWrongCaption) {
  Folder folder;
  generate_scenes(folder.path, {.count = 60, .size = 32, .eval_every = 2});
  std::map<std::string, std::vector<std::string>> captions;
  std::ifstream all(folder.path / "captions-eval.jsonl"), in(folder.path / "examples.jsonl");
  for (std::string line; std::getline(all, line);) {
    auto entry = nlohmann::json::parse(line);
    captions[entry.at("image")] = entry.at("captions");
  }
  int64_t pairs = 0;
  for (std::string line; std::getline(in, line); ++pairs) {
    auto entry = nlohmann::json::parse(line);
    const auto& own = captions.at(entry.at("image"));
    bool right = std::find(own.begin(), own.end(), entry.at("text").get<std::string>()) != own.end();
    EXPECT_EQ(right, entry.at("label") == 1) << line;
    EXPECT_EQ(right, pairs % 2 == 0) << line;
  }
  EXPECT_EQ(pairs, 2 * scene_class_count());
}

TEST(Scenes, TheFewestHoldOutOneOfEachClass) {
  Folder few("scenes-few"), folder;
  EXPECT_EQ(test::message_of([&] { generate_scenes(few.path, {.count = 119, .size = 16}); }, Exit::config),
            "scenes.count = 119: expected at least 120, so that every class has a picture for evaluation");
  EXPECT_FALSE(fs::exists(few.path));
  generate_scenes(folder.path, {.count = 120, .size = 16});
  auto lines = [&](const char* name) {
    auto text = contents(folder.path / name);
    return std::count(text.begin(), text.end(), '\n');
  };
  EXPECT_EQ(lines("captions-eval.jsonl"), scene_class_count());
  EXPECT_EQ(lines("captions.jsonl"), 120 - scene_class_count());
  EXPECT_EQ(lines("examples.jsonl"), 2 * scene_class_count());
}

TEST(Scenes, CaptionsAreTrue) {
  SceneOptions options;
  int pairs = 0;
  for (int64_t i = 0; i < 400; ++i) {
    Scene scene = compose_scene(options, i);
    const SceneObject& main = scene.objects.at(0);
    EXPECT_TRUE(main.large);
    std::string colour = scene_colours().at(size_t(main.colour)).name;
    EXPECT_TRUE(scene.class_name.starts_with(colour + "_"));
    std::string shape = scene.class_name.substr(colour.size() + 1);
    EXPECT_TRUE(scene.captions.at(0).starts_with("a large " + colour + " " + shape)) << scene.captions[0];
    if (scene.objects.size() == 1) continue;
    ++pairs;
    const SceneObject& other = scene.objects.at(1);
    EXPECT_FALSE(other.large);
    EXPECT_NE(scene.captions[0].find(std::string("a small ") + scene_colours()[size_t(other.colour)].name),
              std::string::npos);
    auto says = [&](const char* relation) { return scene.captions[0].find(relation) != std::string::npos; };
    double dx = main.x - other.x, dy = main.y - other.y;
    bool across = std::abs(dx) >= std::abs(dy);
    EXPECT_EQ(says(" left of "), across && dx < 0) << scene.captions[0];
    EXPECT_EQ(says(" right of "), across && dx >= 0) << scene.captions[0];
    EXPECT_EQ(says(" above "), !across && dy < 0) << scene.captions[0];
    EXPECT_EQ(says(" below "), !across && dy >= 0) << scene.captions[0];
    EXPECT_GT(std::hypot(dx, dy), main.radius + other.radius);
  }
  EXPECT_GT(pairs, 100);
}

// Near the middle of an object the file shows its colour, and just outside every object it shows the background: so the
// pixels, not only the captions, hold what the class says.
TEST(Scenes, ObjectsAreDrawnWhereTheyAre) {
  SceneOptions options{.size = 96};
  for (int64_t i = 0; i < 60; ++i) {
    Scene scene = compose_scene(options, i);
    Image image = draw_scene(options, i, scene);
    for (const SceneObject& o : scene.objects) {
      for (double at : {o.x - o.radius, o.x + o.radius, o.y - o.radius, o.y + o.radius}) {
        EXPECT_GE(at, 0);
        EXPECT_LE(at, options.size);
      }
      const uint8_t* pixel = image.row(int(o.y)) + 3 * int(o.x);
      for (int c = 0; c < 3; ++c)
        EXPECT_NEAR(pixel[c], scene_colours()[size_t(o.colour)].rgb[c], 36) << "picture " << i;
    }
    // The area of the main object, counted by its colour, is that of its shape.
    const SceneObject& main = scene.objects[0];
    double area = 0, r2 = main.radius * main.radius;
    for (int y = 0; y < options.size; ++y)
      for (int x = 0; x < options.size; ++x) {
        double distance = std::hypot(x + 0.5 - main.x, y + 0.5 - main.y);
        const uint8_t* p = image.row(y) + 3 * x;
        const uint8_t* centre = image.row(int(main.y)) + 3 * int(main.x);
        int difference = std::abs(p[0] - centre[0]) + std::abs(p[1] - centre[1]) + std::abs(p[2] - centre[2]);
        area += distance < main.radius + 0.5 && difference < 90;
      }
    double expected = main.shape == SceneShape::circle   ? M_PI * r2
                      : main.shape == SceneShape::square ? 2 * r2
                                                         : 1.299 * r2;
    EXPECT_NEAR(area / expected, 1, 0.2) << "picture " << i << ", " << scene.class_name;
  }
}

TEST(Scenes, RefuseAFolderThatHoldsSomething) {
  Folder folder;
  fs::create_directories(folder.path);
  std::ofstream(folder.path / "mine.txt") << "precious";
  EXPECT_THROW(generate_scenes(folder.path, {.count = 120}), Error);
  EXPECT_EQ(all_files(folder.path).size(), 1u);
  EXPECT_THROW(generate_scenes(folder.path.string() + "-x", {.count = 0}), Error);
}

}  // namespace
}  // namespace viaduct
