// One rank's task of image-text learning with its memory and its data, without a training loop.
#pragma once
#include "core/ops/workspace.hpp"
#include "tests/support/recording_sink.hpp"
#include "tests/train/tiny_bridgetower.hpp"
#include "train/engine.hpp"
#include "train/image_text.hpp"

namespace viaduct::test {

using Rows = std::vector<std::vector<double>>;

inline double value(Tensor t, int64_t i) {
  return t.dtype == DType::f64 ? data<double>(t)[i] : double(data<float>(t)[i]);
}
inline Rows rows_of(Tensor t) {
  Rows rows(size_t(t.shape[0]));
  for (int64_t i = 0; i < t.numel(); ++i) rows[size_t(i / t.shape[1])].push_back(value(t, i));
  return rows;
}

inline Settings batch_of(int size) { return {{"train.batch_size", std::to_string(size)}}; }

// What each pass of a training said.
struct Sink final : GradSink {
  explicit Sink(ParameterStore& store) : plain(store) {}
  void add_loss(Tensor losses, int64_t terms) override {
    plain.add_loss(losses, terms);
    auto& pass = passes.emplace_back();
    for (int64_t i = 0; i < losses.numel(); ++i) pass.push_back(value(losses, i));
  }
  void need(Range r) override { plain.need(r); }
  Tensor open(Range r) override { return plain.open(r); }
  void ready(Range r) override { plain.ready(r); }
  RecordingSink plain;
  Rows passes;  // losses of samples, pass after pass
};

// A rank's task with its memory and data.
struct Learner {
  Learner(const Settings& settings, Communicator& comm, DType dtype)
      : config(config_of(tiny_bridgetower() + settings)),
        data(open_data(config, resolve_task(config)).train),
        source(resolve_model(config, {})),
        texts(fit_to_texts(source, config, {data}, comm)[0]),
        work(Device::cpu(), 64 << 20, dtype) {
    task = task_maker(source, config, comm.size(), &comm)();
    task->parameters().materialize(Device::cpu(), dtype, true);
    task->parameters().initialize(7);
    work.ctx.training = true;
    options = loader_options(config, viaduct::Pass::training, source, texts, comm);
  }
  // The passes of a step that fall to a rank.
  std::vector<Batch> batches(int64_t step, int64_t rank, int64_t ranks) {
    LoaderOptions of_rank = options;
    of_rank.rank = rank, of_rank.ranks = ranks;
    Loader loader(data, of_rank, step);
    std::vector<Batch> all;
    for (int64_t i = 0; i < options.accumulate; ++i) all.push_back(loader.next());
    return all;
  }
  void learn(const Batch& batch, GradSink& sink) {
    work.ctx.sample_keys = batch.keys;
    if (batch.size() > 0)
      task->train(work.ctx, batch, sink);
    else
      task->train_nothing(work.ctx, sink);
  }

  Config config;
  DatasetPtr data;
  ModelSource source;
  TextSizes texts;
  Workspace work;
  std::unique_ptr<Task> task;
  LoaderOptions options;
};

inline double cross_entropy(const std::vector<double>& logits, int64_t label) {
  double sum = 0;
  for (double logit : logits) sum += std::exp(logit);
  return std::log(sum) - logits[size_t(label)];
}

}  // namespace viaduct::test
