#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>

#include "app/ordered_output.hpp"
#include "app/setup.hpp"
#include "core/base/log.hpp"

namespace viaduct::app {
namespace {

constexpr int kBatchesPerExchange = 16;

using Json = nlohmann::ordered_json;
std::string line_of(const Json& object) { return object.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"; }

Json prediction(const std::string& id, const float* logits, const std::vector<std::string>& labels,
                const PredictSection& wanted) {
  size_t classes = labels.size(), top = std::min(classes, size_t(wanted.top_k));
  std::vector<size_t> order(classes);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  double sum = 0, largest = logits[order[0]];
  for (size_t c = 0; c < classes; ++c) sum += std::exp(logits[c] - largest);
  Json object = {{"id", id}, {"labels", Json::array()}, {"scores", Json::array()}};
  for (size_t k = 0; k < top; ++k) {
    object["labels"].push_back(labels[order[k]]);
    object["scores"].push_back(std::exp(logits[order[k]] - largest) / sum);
  }
  if (wanted.logits) object["logits"] = std::vector<float>(logits, logits + classes);
  return object;
}

// The lines of one batch by sample, those of unreadable images among them.
std::string predict_batch(Engine& engine, const Dataset& data, const Batch& batch, const PredictSection& wanted) {
  std::map<int64_t, std::string> lines;
  for (const Quarantined& bad : batch.quarantined) lines[bad.sample] = line_of({{"id", bad.id}, {"error", bad.reason}});
  if (batch.size() > 0) {
    Ctx& ctx = engine.work().ctx;
    auto scope = ctx.arena.scope("predict");
    Tensor raw = engine.task().predict(ctx, batch), logits = ctx.arena.temp(raw.shape, DType::f32);
    ops::copy(ctx, logits, raw);
    ctx.stream.synchronize();
    const auto& labels = engine.source().config.labels;
    for (int64_t b = 0; b < batch.size(); ++b) {
      int64_t sample = batch.samples[size_t(b)];
      lines[sample] =
          line_of(prediction(data.id(sample), viaduct::data<float>(logits) + b * logits.shape[1], labels, wanted));
    }
  }
  std::string text;
  for (const auto& [sample, line] : lines) text += line;
  return text;
}

DatasetPtr open_input(const Invocation& call) {
  std::vector<std::string> paths(call.subjects.begin() + std::min<size_t>(1, call.subjects.size()),
                                 call.subjects.end());
  if (paths.empty() && !call.config.predict.input.empty()) paths = {call.config.predict.input};
  const std::string& eval = call.config.data.eval;
  bool held_out = paths.empty() && !eval.empty() && !call.config.eval_fraction();
  if (held_out) paths = {eval};
  if (paths.empty()) fail_config("viaduct predict needs images: viaduct predict MODEL IMAGES, or set predict.input");
  bool split = held_out && std::filesystem::exists(eval + "/labels.csv");  // it says which images are for evaluation
  DatasetPtr data = split ? open_labelled(eval, Split::eval) : open_unlabelled(paths);
  if (data->size() == 0) fail_input(fmt::format("{}: no images there", fmt::join(paths, ", ")));
  return data;
}

Exit run(const Invocation& call) {
  Config config = with_model(call, "predict");
  DatasetPtr data = open_input(call);
  settle(call);
  ModelSource source = resolve_model(config, {});
  OrderedOutput output(config.predict.output, call.comm);
  Engine engine(source, config, false, call.comm);
  engine.load_weights(uint64_t(config.train.seed));
  LoaderOptions options = loader_options(config, Pass::evaluation, source.processor, call.comm);
  options.quarantine_budget = data->size();  // they are reported, however many there are
  Loader loader(data, options);

  auto start = std::chrono::steady_clock::now();
  bool more = true;
  while (more) {
    std::string lines;
    for (int i = 0; i < kBatchesPerExchange && !loader.done(); ++i)
      lines += predict_batch(engine, *data, loader.next(), config.predict);
    more = output.exchange(lines, !loader.done());
  }
  output.finish();

  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  int64_t bad = 0;
  for (const std::string& count : call.comm.all_gather_text(std::to_string(loader.quarantined().size())))
    bad += std::stoll(count);
  log::info("{} images, {} of them unreadable, {:.1f} images/s: {}", data->size(), bad, double(data->size()) / seconds,
            config.predict.output);
  if (bad == data->size())
    fail_input(fmt::format("none of the {} files is a readable image; {} says why", bad, config.predict.output));
  return Exit::ok;
}

}  // namespace

const Command predict_command = {
    "predict",
    "[MODEL [IMAGES ...]]",
    "labels and scores of images, as JSONL in input order",
    "MODEL (or model.pretrained) is a run folder or a Hugging Face model folder; IMAGES (or predict.input, or "
    "data.eval) are\n"
    "folders or image files. The ranks share the images. Each gets one line, in the order given, a folder's in byte "
    "order:\n"
    "  {\"id\": path, \"labels\": [..], \"scores\": [..]}, with \"logits\" on request, or {\"id\": path, \"error\": "
    "reason}.",
    {"predict", "model", "data", "train", "device"},
    100000,
    false,
    run};

}  // namespace viaduct::app
