// Pictures that need no download: one or two coloured shapes on a noisy background, with captions that are true. For
// the demo, and for tests and benchmarks that want real files with something to learn in them.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/image.hpp"

namespace viaduct {

struct SceneOptions {
  int64_t count = 4000;  // pictures in all; enough for one of each class in eval
  uint64_t seed = 0;
  int size = 64;        // pixels, both ways
  int eval_every = 10;  // of each class every n-th picture goes to eval
  int jpeg_quality = 92;
};

enum class SceneShape : uint8_t { circle, square, triangle, star };

struct SceneObject {
  SceneShape shape{};
  int colour = 0;  // index into scene_colours()
  bool large = false;
  double x = 0, y = 0, radius = 0, angle = 0;  // pixels from the top left corner, of the circumscribed circle; radians
};

// The first object is the main one, always large; its colour and shape are the class. A second one is always small.
struct Scene {
  std::vector<SceneObject> objects;
  std::string class_name;  // "red_circle"
  // "a large red circle left of a small blue square"; with two objects also the reverse.
  std::vector<std::string> captions;
};

struct SceneColour {
  const char* name;
  uint8_t rgb[3];
};
const std::vector<SceneColour>& scene_colours();
int64_t scene_class_count();

// Picture i is a function of (options, i) alone; classes take turns.
Scene compose_scene(const SceneOptions&, int64_t i);
Image draw_scene(const SceneOptions&, int64_t i, const Scene&);

// Writes folder/train/<class>/<i>.jpg, folder/eval/<class>/<i>.jpg, folder/tokenizer/ (each word of the captions is a
// token), folder/examples.jsonl (a picture of each class from eval, with a right and a wrong caption) and, last,
// folder/captions.jsonl (train) and folder/captions-eval.jsonl. The folder must be new or empty.
void generate_scenes(const std::string& folder, const SceneOptions&);

}  // namespace viaduct
