// BridgeTower against transformers: outputs, loss, every gradient, and the steps of a fine-tuning, of every head. The
// values are those of tests/golden.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "core/base/files.hpp"
#include "core/optim/adamw.hpp"
#include "core/optim/schedule.hpp"
#include "models/bridgetower_body.hpp"
#include "models/bridgetower_heads.hpp"
#include "models/hf_config.hpp"
#include "models/hf_layout.hpp"
#include "models/hf_weights.hpp"
#include "tests/models/bridgetower_rig.hpp"
#include "tests/support/one_update.hpp"
#include "tests/support/source_path.hpp"
#include "tests/support/test_ctx.hpp"

namespace viaduct {
namespace {

using test::Pass;

constexpr ops::Normalization kClip{
    1.0 / 255, {0.48145466f, 0.4578275f, 0.40821073f}, {0.26862954f, 0.26130258f, 0.27577711f}};

std::vector<float> read_floats(const SafetensorsFile& file, const std::string& name) {
  const SafetensorsEntry& entry = file.get(name);
  std::vector<float> values(size_t(entry.numel()));
  file.read(entry, values.data());
  return values;
}

// A tensor of [batches, ..] in the file, and one of its batches.
struct Batches {
  Batches(const SafetensorsFile& file, const std::string& name, DType dtype) : dtype(dtype) {
    const SafetensorsEntry& entry = file.get(name);
    count = entry.shape[0];
    for (size_t i = 1; i < entry.shape.size(); ++i) shape.dim[shape.rank++] = entry.shape[i];
    memory = Buffer(Device::cpu(), entry.end - entry.begin);
    file.read_bytes(entry, memory.data());
  }
  Tensor operator[](int64_t i) const { return memory.view((i % count) * shape.numel() * size_of(dtype), shape, dtype); }
  DType dtype;
  int64_t count = 0;
  Shape shape;
  Buffer memory;
};

struct Golden {
  explicit Golden(const Path& folder)
      : folder(folder),
        data(folder / "data.safetensors"),
        expected(nlohmann::json::parse(read_file(folder / "expected.json", 1 << 20))),
        config(bridgetower(read_model_config(folder))) {}
  const nlohmann::json& of(Pass pass) const { return expected[test::name_of(pass)]; }
  void build(BridgeTowerParts parts, DType dtype = DType::f32) {
    model = std::make_unique<BridgeTower>(config, kClip, parts);
    model->parameters().materialize(Device::cpu(), dtype, true);
    load_weights(folder, config, model->parameters(), 1);
    work = std::make_unique<Workspace>(Device::cpu(), working_memory(), dtype);
  }
  int64_t working_memory() const { return int64_t(1) << (config.hidden_size > 128 ? 34 : 28); }
  test::Learned batch(Pass pass, int64_t i) const {
    bool is_mlm = pass == Pass::mlm;
    return {{images[i], is_mlm ? masked_ids[i] : ids[i], mask[i]}, is_mlm ? masked_labels[i] : pair_labels[i]};
  }
  // The mean loss; the gradients are those of the sum over `terms`.
  double train(Pass pass, int64_t i) {
    test::RecordingSink sink(model->parameters());
    model->parameters().zero_gradients(test::host_stream());
    test::run_pass(work->ctx, *model, pass, batch(pass, i), sink);
    terms = double(sink.terms);
    return sink.loss / terms;
  }
  // Outputs of a size above 1 are compared in units of it, their root mean square.
  void expect_values(Tensor got, const std::string& name, int64_t stride, int64_t first, int64_t columns) const {
    std::vector<float> want = read_floats(data, name);
    const double squares = std::inner_product(want.begin(), want.end(), want.begin(), 0.0);
    const double unit = std::max(1.0, std::sqrt(squares / double(want.size())));
    int64_t rows = int64_t(want.size()) / stride;
    ASSERT_EQ(got.numel(), rows * columns) << name;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < columns; ++c)
        ASSERT_NEAR(viaduct::data<float>(got)[r * columns + c], want[size_t(r * stride + first + c)], 1e-4 * unit)
            << name << " row " << r << " column " << c;
  }
  void expect_values(Tensor got, const std::string& name) const {
    expect_values(got, name, got.shape.last(), 0, got.shape.last());
  }

  Path folder;
  SafetensorsFile data;
  nlohmann::json expected;
  BridgeTowerConfig config;
  Batches images{data, "images", DType::u8}, ids{data, "ids", DType::i32}, mask{data, "mask", DType::i32};
  Batches masked_ids{data, "masked_ids", DType::i32}, masked_labels{data, "masked_labels", DType::i32};
  Batches pair_labels{data, "pair_labels", DType::i32};
  std::unique_ptr<BridgeTower> model;
  std::unique_ptr<Workspace> work;
  double terms = 0;
};

// The committed folders, and one more that VIADUCT_GOLDEN names: a real shape, made on demand.
std::vector<std::string> golden_folders() {
  std::vector<std::string> folders;
  for (const char* name : {"tiny", "scaled_add", "interpolate", "single"})
    folders.push_back(test::source_path(std::string("tests/golden/bridgetower_") + name).string());
  const char* more = std::getenv("VIADUCT_GOLDEN");
  if (more && Path(more).filename().string().starts_with("bridgetower")) folders.push_back(more);
  return folders;
}

// The heads that transformers can run: not itc when the towers have two widths.
using Case = std::tuple<std::string, Pass>;
std::vector<Case> golden_cases() {
  std::vector<Case> cases;
  for (const std::string& folder : golden_folders()) {
    const BridgeTowerConfig config = bridgetower(read_model_config(folder));
    for (Pass pass : test::kPasses)
      if (pass != Pass::itc || config.hidden_size == config.vision.hidden_size) cases.emplace_back(folder, pass);
  }
  return cases;
}

class BridgeTowerGolden : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override { golden.build(test::parts_for(pass)); }
  Golden golden{std::get<0>(GetParam())};
  Pass pass = std::get<1>(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Heads, BridgeTowerGolden, testing::ValuesIn(golden_cases()), [](auto& info) {
  return Path(std::get<0>(info.param)).filename().string() + "_" + test::name_of(std::get<1>(info.param));
});

TEST_P(BridgeTowerGolden, OutputsAreThoseOfTransformers) {
  Ctx& ctx = golden.work->ctx;
  auto scope = ctx.arena.scope("test");
  test::Learned batch = golden.batch(pass, 0);
  if (pass == Pass::itm) {
    golden.expect_values(golden.model->itm(ctx, nullptr, batch.in, nullptr), "itm_logits");
  } else if (pass == Pass::mlm) {
    golden.expect_values(golden.model->mlm(ctx, nullptr, batch.in, batch.labels, nullptr).logits, "mlm_logits");
  } else {
    BridgeTower::Embeddings e = golden.model->itc(ctx, nullptr, batch.in, nullptr);
    BridgeTower::Embeddings towers = golden.model->towers(ctx, batch.in);
    int64_t C = e.text.shape[1], place = 0;
    for (Tensor t : {e.text, e.image, e.cross}) golden.expect_values(t, "itc_logits", 3 * C, C * place++, C);
    golden.expect_values(towers.text, "itc_logits", 3 * C, 0, C);
    golden.expect_values(towers.image, "itc_logits", 3 * C, C, C);
  }
}

// What the heads read, of the model without any.
TEST(BridgeTowerFeatures, AreThoseOfTransformers) {
  for (const std::string& folder : golden_folders()) {
    const Golden golden{folder};
    const BridgeTowerConfig& c = golden.config;
    constexpr Passes kFirst = 1, kRows = 2;
    ParameterStore store;
    PassBlocks blocks(store);
    BridgeTowerBody body(blocks, c, kClip, {.readers = {kFirst, kRows}});
    Poolers poolers(blocks, c, kFirst, false);
    store.materialize(Device::cpu(), DType::f32, false);
    load_weights(folder, c, store, 1);
    Workspace work(Device::cpu(), golden.working_memory(), DType::f32);
    Ctx& ctx = work.ctx;
    auto scope = ctx.arena.scope("test");
    const BridgeTower::Inputs in{golden.images[0], golden.ids[0], golden.mask[0]};
    const int64_t B = in.ids.shape[0], T = in.ids.shape[1], H = c.hidden_size, N = c.image_tokens();
    auto make = [&](Shape shape) { return ctx.arena.temp(shape, DType::f32); };
    Tensor text = make({B, T, H}), text_first = make({B, H}), image_first = make({B, H}), pooled = make({B, 2 * H});
    BlockReports reports;
    body.forward(ctx, reports, in, {.text_rows = text}, nullptr);
    body.forward(ctx, reports, in, {.text_first = text_first, .image_first = image_first}, nullptr);
    poolers.forward(ctx, reports, pooled, text_first, image_first, nullptr);
    golden.expect_values(text, "text_features");
    golden.expect_values(text_first, "text_features", T * H, 0, H);
    golden.expect_values(image_first, "image_features", N * H, 0, H);
    golden.expect_values(pooled, "pooler");
  }
}

TEST_P(BridgeTowerGolden, LossIsThatOfTransformers) {
  const test::Learned batch = golden.batch(pass, 0);
  const int32_t* label = data<int32_t>(batch.labels);
  auto terms = std::count_if(label, label + batch.labels.numel(), [](int32_t l) { return l != ops::kIgnoredLabel; });
  Parameter* scale = pass == Pass::itc ? &golden.model->logit_scale() : nullptr;
  double loss = test::loss_of(golden.work->ctx, *golden.model, scale, pass, batch) / double(terms);
  EXPECT_NEAR(golden.of(pass)["loss"], loss, 1e-5 * loss);
}

TEST_P(BridgeTowerGolden, GradientsAreThoseOfTransformers) {
  const auto& expected = golden.of(pass);
  EXPECT_NEAR(expected["loss"], golden.train(pass, 0), 1e-5 * double(expected["loss"]));
  SafetensorsFile file(golden.folder / (std::string("grads_") + test::name_of(pass) + ".safetensors"));
  double global = expected["grad_norm"];
  size_t compared = 0;
  for (const Parameter& p : golden.model->parameters().parameters()) {
    int64_t offset = 0;
    for (const HfTensor& tensor : hf_tensors(p, golden.config)) {
      int64_t n = p.range.size() / int64_t(hf_tensors(p, golden.config).size()), stride = (n / 64) | 1;
      const SafetensorsEntry* entry = file.find(tensor.name);
      EXPECT_EQ(entry == nullptr, p.frozen()) << tensor.name;
      if (!entry || p.frozen()) continue;
      std::vector<float> want = read_floats(file, tensor.name);
      ASSERT_EQ(int64_t(want.size()), (n + stride - 1) / stride) << tensor.name;
      const float* got = data<float>(p.grad) + offset;
      double dot = 0, got2 = 0, want2 = 0, difference = 0, whole = 0;
      for (int64_t i = 0; i < n; ++i) whole += double(got[i]) * double(got[i]);
      for (size_t i = 0; i < want.size(); ++i) {
        double g = double(got[int64_t(i) * stride]) / golden.terms, w = want[i];
        dot += g * w, got2 += g * g, want2 += w * w, difference = std::max(difference, std::abs(g - w));
      }
      offset += n, ++compared;
      double norm = expected["norms"][tensor.name];
      if (norm < 1e-6 * global || want2 < 1e-16 * norm * norm) {  // a key's bias: zero in theory, rounding in practice
        EXPECT_LT(difference, 1e-6 * global) << tensor.name;
      } else {
        EXPECT_GT(dot / std::sqrt(got2 * want2), 0.99999) << tensor.name;
        EXPECT_NEAR(std::sqrt(whole) / golden.terms / norm, 1, 1e-4) << tensor.name;
      }
    }
  }
  EXPECT_EQ(compared, file.tensors().size());
}

TEST_P(BridgeTowerGolden, StepsAreThoseOfTransformers) {
  const auto &t = golden.expected["training"], &expected = golden.of(pass);
  ParameterStore& store = golden.model->parameters();
  std::set<std::string> decayed = t["decayed"];
  for (const Parameter& p : store.parameters()) {
    if (p.frozen()) continue;
    for (const HfTensor& tensor : hf_tensors(p, golden.config))
      EXPECT_EQ(p.options.decay, decayed.contains(tensor.name)) << tensor.name;
  }
  AdamW optimizer(store, store.range(), {.weight_decay = t["weight_decay"]});
  Schedule schedule{"linear", t["warmup"], t["steps"]};
  for (int64_t s = 0; s < schedule.total_steps; ++s) {
    double loss = golden.train(pass, s), want_loss = expected["losses"][size_t(s)];
    double want_norm = expected["grad_norms"][size_t(s)];
    double norm = test::one_update(golden.work->ctx, optimizer, store, double(t["lr"]) * schedule.factor(s),
                                   t["clip_norm"], golden.terms);
    EXPECT_NEAR(loss, want_loss, 1e-4 * want_loss) << "step " << s;
    EXPECT_NEAR(norm, want_norm, 1e-4 * want_norm) << "step " << s;
  }
}

}  // namespace
}  // namespace viaduct
