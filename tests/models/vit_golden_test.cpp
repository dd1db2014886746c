// ViT against transformers: logits, loss, every gradient, and twenty AdamW steps. The values are those of tests/golden.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>

#include "core/base/files.hpp"
#include "core/ops/workspace.hpp"
#include "core/optim/adamw.hpp"
#include "core/optim/schedule.hpp"
#include "models/hf_config.hpp"
#include "models/hf_layout.hpp"
#include "models/hf_weights.hpp"
#include "models/vit_classifier.hpp"
#include "tests/support/one_update.hpp"
#include "tests/support/recording_sink.hpp"
#include "tests/support/source_path.hpp"
#include "tests/support/test_ctx.hpp"

namespace viaduct {
namespace {

std::vector<float> read_floats(const SafetensorsFile& file, const std::string& name) {
  const SafetensorsEntry& entry = file.get(name);
  std::vector<float> values(size_t(entry.numel()));
  file.read(entry, values.data());
  return values;
}
template <class T>
std::vector<T> read_integers(const SafetensorsFile& file, const std::string& name) {
  const SafetensorsEntry& entry = file.get(name);
  std::vector<T> values(size_t(entry.numel()));
  file.read_bytes(entry, values.data());
  return values;
}

// A golden folder, and the model that it describes.
struct Golden {
  explicit Golden(const Path& folder)
      : folder(folder),
        data(folder / "data.safetensors"),
        expected(nlohmann::json::parse(read_file(folder / "expected.json", 1 << 20))),
        config(vit(read_model_config(folder))) {
    images = read_integers<uint8_t>(data, "images");
    labels = read_integers<int32_t>(data, "labels");
    batch_size = data.get("images").shape[1];
    build(config);
  }
  void build(const VitConfig& c) {
    model = std::make_unique<VitClassifier>(c, ops::Normalization{});
    model->parameters().materialize(Device::cpu(), DType::f32, true);
    load_weights(folder, c, model->parameters(), 1);
  }
  Batch batch(int64_t i) {
    int64_t size = config.image_size;
    Batch b;
    b.pixels = {
        images.data() + i * batch_size * size * size * 3, {batch_size, size, size, 3}, DType::u8, Device::cpu()};
    b.labels = {labels.data() + i * batch_size, {batch_size}, DType::i32, Device::cpu()};
    b.samples.resize(size_t(batch_size));
    return b;
  }
  double train(int64_t i) {
    test::RecordingSink sink(model->parameters());
    model->parameters().zero_gradients(test::host_stream());
    model->train(work.ctx, batch(i), sink);
    return sink.loss / double(batch_size);
  }
  void expect_logits(Tensor pixels, const std::string& name) {
    auto scope = work.arena.scope("logits");
    Tensor got = model->forward(work.ctx, pixels);
    std::vector<float> want = read_floats(data, name);
    ASSERT_EQ(got.numel(), int64_t(want.size()));
    for (size_t k = 0; k < want.size(); ++k)
      EXPECT_NEAR(viaduct::data<float>(got)[k], want[k], 1e-4) << name << " " << k;
  }

  Path folder;
  SafetensorsFile data;
  nlohmann::json expected;
  VitConfig config;
  std::vector<uint8_t> images;
  std::vector<int32_t> labels;
  int64_t batch_size = 0;
  std::unique_ptr<VitClassifier> model;
  Workspace work{Device::cpu(), 1 << 30, DType::f32};
};

// The committed folders, and one more that VIADUCT_GOLDEN names: the base shape, made on demand.
std::vector<std::string> golden_folders() {
  std::vector<std::string> folders;
  for (const char* name : {"vit_tiny", "vit_tokens26", "vit_patch14", "vit_relu"})
    folders.push_back((test::source_path("tests/golden") / name).string());
  const char* more = std::getenv("VIADUCT_GOLDEN");
  if (more && Path(more).filename().string().starts_with("vit")) folders.push_back(more);
  return folders;
}

class VitGolden : public testing::TestWithParam<std::string> {
 protected:
  Golden golden{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Shapes, VitGolden, testing::ValuesIn(golden_folders()),
                         [](auto& info) { return Path(info.param).filename().string(); });

TEST_P(VitGolden, LogitsAreThoseOfTransformers) { golden.expect_logits(golden.batch(0).pixels, "logits"); }

TEST_P(VitGolden, GradientsAreThoseOfTransformers) {
  EXPECT_NEAR(golden.expected["loss"], golden.train(0), 1e-5 * double(golden.expected["loss"]));
  SafetensorsFile file(golden.folder / "grads.safetensors");
  double global = golden.expected["grad_norm"];
  size_t compared = 0;
  for (const Parameter& p : golden.model->parameters().parameters()) {
    int64_t offset = 0;
    for (const HfTensor& tensor : hf_tensors(p, golden.config)) {
      std::vector<float> want = read_floats(file, tensor.name);
      const float* got = data<float>(p.grad) + offset;
      double dot = 0, got2 = 0, want2 = 0, difference = 0;
      for (size_t i = 0; i < want.size(); ++i) {
        double g = double(got[i]) / double(golden.batch_size), w = want[i];
        dot += g * w, got2 += g * g, want2 += w * w, difference = std::max(difference, std::abs(g - w));
      }
      offset += int64_t(want.size()), ++compared;
      if (std::sqrt(want2) < 1e-6 * global) {  // a key's bias: zero in theory, rounding in practice
        EXPECT_LT(difference, 1e-6 * global) << tensor.name;
      } else {
        EXPECT_GT(dot / std::sqrt(got2 * want2), 0.99999) << tensor.name;
        EXPECT_NEAR(std::sqrt(got2 / want2), 1, 1e-4) << tensor.name;
      }
    }
    EXPECT_EQ(offset, p.range.size()) << p.name;
  }
  EXPECT_EQ(compared, file.tensors().size());
}

TEST_P(VitGolden, TwentyStepsAreThoseOfTransformers) {
  const auto& t = golden.expected["training"];
  ParameterStore& store = golden.model->parameters();
  AdamW optimizer(store, store.range(),
                  {.beta1 = t["beta1"], .beta2 = t["beta2"], .eps = t["epsilon"], .weight_decay = t["weight_decay"]});
  int64_t steps = t["steps"], batches = golden.data.get("images").shape[0];
  Schedule schedule{t["schedule"], t["warmup"], steps};
  for (int64_t s = 0; s < steps; ++s) {
    double loss = golden.train(s % batches), want_loss = t["losses"][size_t(s)], want_norm = t["grad_norms"][size_t(s)];
    double norm = test::one_update(golden.work.ctx, optimizer, store, double(t["lr"]) * schedule.factor(s),
                                   t["clip_norm"], double(golden.batch_size));
    EXPECT_NEAR(loss, want_loss, 1e-5 * want_loss) << "step " << s;
    EXPECT_NEAR(norm, want_norm, 1e-4 * want_norm) << "step " << s;
  }
  golden.expect_logits(golden.batch(0).pixels, "trained_logits");
}

TEST(VitGoldenSize, InterpolatedPositionsAreThoseOfTransformers) {
  Golden golden(test::source_path("tests/golden/vit_tiny"));
  const auto& shape = golden.data.get("large_images").shape;
  VitConfig larger = golden.config;
  larger.image_size = shape[1];
  golden.build(larger);
  std::vector<uint8_t> images = read_integers<uint8_t>(golden.data, "large_images");
  golden.expect_logits({images.data(), {shape[0], shape[1], shape[2], 3}, DType::u8, Device::cpu()}, "large_logits");
}

}  // namespace
}  // namespace viaduct
