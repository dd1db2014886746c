#include "data/loader.hpp"

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <limits>
#include <mutex>
#include <optional>
#include <thread>

#include "core/base/check.hpp"
#include "core/base/log.hpp"
#include "core/device/host_copy.hpp"

namespace viaduct {
namespace {

constexpr int kSubstituteAttempts = 64;
constexpr size_t kListedInError = 20;

// One micro-batch in preparation. Workers fill different items at the same time.
struct Job {
  struct Item {
    int64_t position = 0;  // in the epoch
    int64_t sample = -1;   // what was read in the end; -1: nothing
    SampleText text;
    std::vector<Quarantined> quarantined;
    bool replaced = false;  // its own sample is among them
  };
  uint64_t epoch = 0;
  int64_t text_length = 0;  // 0: that of its longest
  std::vector<Item> items;
  Batch batch;  // tensors of full size until finish()
  size_t taken = 0, finished = 0;
  std::exception_ptr error;
};

bool mixes(const LoaderOptions& o) { return o.pass == Pass::training && o.mix.on(); }

// Where the parts of a batch lie in its storage.
struct Layout {
  explicit Layout(const LoaderOptions& o) {
    const int64_t n = o.batch_size, pixels = int64_t(o.processor.height) * o.processor.width * 3;
    labels = align_up(n * pixels, 64);
    others = align_up(labels + 4 * n, 64);
    shares = align_up(others + (mixes(o) ? 4 * n : 0), 64);
    keys = align_up(shares + (mixes(o) ? 4 * n : 0), 64);
    text = align_up(keys + 8 * n, 64);
    bytes = text + text_bytes(o.text, n);
  }
  int64_t labels, others, shares, keys, text, bytes;
};

}  // namespace

int automatic_workers(int cores_of_this_rank) { return std::clamp(cores_of_this_rank / 2, 1, 16); }

int64_t batches_held(int workers, int prefetch) { return workers ? prefetch + 2 : 1; }  // see top_up()

int64_t batch_bytes(const LoaderOptions& options) { return Layout(options).bytes; }

struct Loader::State {
  State(DatasetPtr d, LoaderOptions o, int64_t start_step);

  // What the batches are: pure functions of the options.
  std::unique_ptr<Job> make_job(int64_t number);
  void fill(Job&, size_t item) const;
  bool try_fill(Job&, size_t item, int64_t sample, uint64_t key) const;
  bool fill_with_a_readable(Job&, size_t item, uint64_t key) const;
  void mix_in(Job&, size_t item, uint64_t key) const;
  int64_t last_job() const;
  // What the calling thread does with a prepared one.
  Batch finish(Job&);
  void note(const Quarantined&);
  std::shared_ptr<Buffer> storage(int64_t bytes);
  // How workers take part.
  void top_up();
  void work(std::stop_token);
  std::unique_ptr<Job> prepared();

  DatasetPtr data;
  LoaderOptions options;
  ImagePipeline pipeline;
  BatchPlan plan;
  Sampler sampler;
  std::optional<TextBatcher> texts;
  struct {
    int64_t step = -1;
    TextBatcher::Step text;
  } planned;         // of the step whose micro-batches are being made
  Range share;       // evaluation: this rank's samples
  int64_t next_job;  // number of the next micro-batch to begin
  int64_t handed_out;
  std::vector<std::shared_ptr<Buffer>> pool;
  std::map<int64_t, Quarantined> quarantined;
  double waited = 0;

  std::mutex mutex;
  std::condition_variable_any work_there, job_done;
  std::deque<std::unique_ptr<Job>> queue;  // in order; guarded by mutex, as are Job::taken, finished and error
  std::vector<std::jthread> threads;       // last: joined before the rest is destroyed
};

Loader::State::State(DatasetPtr d, LoaderOptions o, int64_t start_step)
    : data(std::move(d)),
      options(std::move(o)),
      pipeline(options.processor, options.augment, options.pass == Pass::training ? options.random_erasing : 0),
      plan{data->size(), options.batch_size, options.accumulate, options.ranks},
      sampler(data->size(), options.seed, options.shuffle),
      share(split_evenly(data->size(), options.rank, options.ranks)),
      next_job(options.pass == Pass::training ? start_step * options.accumulate : 0),
      handed_out(next_job) {
  expect(options.batch_size > 0 && options.accumulate > 0, "a batch needs a size");
  expect(options.rank >= 0 && options.rank < options.ranks && start_step >= 0,
         "a loader's rank or step is out of range");
  const bool training = options.pass == Pass::training;
  expect(!mixes(options) || data->has_labels(), "images are mixed together with their labels");
  const bool draws = training && (options.shuffle || options.augment != Augment::none);
  expect(options.text.tokenizer || !(options.text.pairs || options.text.masked), "texts need a tokenizer");
  if (options.text.tokenizer) texts.emplace(data, options.text, training, !draws);
  expect(options.workers >= 0 && options.prefetch >= 0, "a loader's number of workers or batches ahead is negative");
  if (options.quarantine_budget < 0) options.quarantine_budget = std::max<int64_t>(10, data->size() / 100);
  top_up();
  for (int i = 0; i < options.workers; ++i) threads.emplace_back([this](std::stop_token stop) { work(stop); });
}

int64_t Loader::State::last_job() const {
  return options.pass == Pass::training ? std::numeric_limits<int64_t>::max()
                                        : ceil_div(share.size(), options.batch_size);
}

std::unique_ptr<Job> Loader::State::make_job(int64_t number) {
  auto job = std::make_unique<Job>();
  Range positions;
  if (options.pass == Pass::training) {
    const int64_t step = number / options.accumulate;
    job->epoch = uint64_t(plan.epoch_of(step));
    positions = plan.micro_batch(step, options.rank, number % options.accumulate);
    if (texts && planned.step != step) planned = {step, texts->step(plan, sampler, options.seed, step)};
    job->text_length = planned.text.length;
    job->batch.step_samples = plan.global_batch_of(step).size(), job->batch.step_masked = planned.text.masked;
  } else {
    positions.begin = share.begin + number * options.batch_size;
    positions.end = std::min(positions.begin + options.batch_size, share.end);
  }
  for (int64_t p = positions.begin; p < positions.end; ++p) job->items.push_back({p, -1, {}});

  const ImageProcessor& processor = options.processor;
  const int64_t n = options.batch_size;
  const Layout layout(options);
  Batch& batch = job->batch;
  batch.storage = storage(layout.bytes);
  batch.pixels = batch.storage->view(0, {n, processor.height, processor.width, 3}, DType::u8);
  if (data->has_labels()) batch.labels = batch.storage->view(layout.labels, {n}, DType::i32);
  batch.keys = batch.storage->view(layout.keys, {n}, DType::i64);
  if (mixes(options)) {
    batch.other_labels = batch.storage->view(layout.others, {n}, DType::i32);
    batch.shares = batch.storage->view(layout.shares, {n}, DType::f32);
  }
  return job;
}

// Whether the sample could be read into the item's place; the reason is kept if not.
bool Loader::State::try_fill(Job& job, size_t i, int64_t sample, uint64_t key) const try {
  pipeline.run(data->read(sample), key, viaduct::data<uint8_t>(job.batch.pixels) + int64_t(i) * pipeline.bytes());
  if (texts) job.items[i].text = texts->tokens(sample, key, job.text_length);
  job.items[i].sample = sample;
  if (job.batch.labels) viaduct::data<int32_t>(job.batch.labels)[i] = data->label(sample);
  viaduct::data<int64_t>(job.batch.keys)[i] = int64_t(key);
  return true;
} catch (const Error& e) {
  if (e.code() != Exit::input) throw;
  job.items[i].quarantined.push_back({sample, data->id(sample), e.what()});
  return false;
}

void Loader::State::fill(Job& job, size_t i) const {
  const int64_t position = job.items[i].position;
  const bool training = options.pass == Pass::training;
  const int64_t sample = training ? sampler.at(job.epoch, position) : position;
  const uint64_t key = sample_key(options.seed, job.epoch, uint64_t(sample));
  if (!try_fill(job, i, sample, key)) {
    job.items[i].replaced = true;
    if (!training || !fill_with_a_readable(job, i, key)) return;
  }
  if (mixes(options)) mix_in(job, i, key);
}

bool Loader::State::fill_with_a_readable(Job& job, size_t i, uint64_t key) const {
  const int64_t position = job.items[i].position;
  RandomSequence substitutes(sample_key(options.seed, job.epoch, uint64_t(position)), Draw::substitute);
  std::vector<int64_t> too_long;  // the other ranks have settled on the text's length
  for (int attempt = 0; attempt < kSubstituteAttempts; ++attempt) {
    const int64_t substitute = int64_t(substitutes.below(uint64_t(data->size())));
    if (texts && !texts->fits(substitute, key, job.text_length))
      too_long.push_back(substitute);
    else if (try_fill(job, i, substitute, key))
      return true;
  }
  for (int64_t substitute : too_long)  // its text is cut
    if (try_fill(job, i, substitute, key)) return true;
  return false;
}

// An image that cannot be read is mixed into none; where no other is found, the item stays as it is.
void Loader::State::mix_in(Job& job, size_t i, uint64_t key) const {
  static thread_local std::vector<uint8_t> pixels;
  const int height = options.processor.height, width = options.processor.width;
  Mix mix = draw_mix(options.mix, height, width, key);
  int32_t& other_label = viaduct::data<int32_t>(job.batch.other_labels)[i];
  float& share = viaduct::data<float>(job.batch.shares)[i];
  other_label = viaduct::data<int32_t>(job.batch.labels)[i], share = 1;
  pixels.resize(size_t(pipeline.bytes()));
  for (int attempt = 0; attempt < kSubstituteAttempts && mix.share < 1; ++attempt) {
    const int64_t other = draw_other(data->size(), attempt, key);
    try {
      pipeline.run(data->read(other), sample_key(options.seed, job.epoch, uint64_t(other)), pixels.data());
    } catch (const Error& e) {
      if (e.code() != Exit::input) throw;
      job.items[i].quarantined.push_back({other, data->id(other), e.what()});
      continue;
    }
    mix_pixels(viaduct::data<uint8_t>(job.batch.pixels) + int64_t(i) * pipeline.bytes(), pixels.data(), height, width,
               mix);
    other_label = data->label(other), share = mix.share;
    return;
  }
}

void Loader::State::note(const Quarantined& q) {
  if (!quarantined.emplace(q.sample, q).second) return;
  log::warn("{} {}: {}", q.id, q.reason,
            options.pass == Pass::training ? "quarantined, another sample takes its place" : "left out");
  if (int64_t(quarantined.size()) <= options.quarantine_budget) return;
  std::string list;
  for (size_t listed = 0; const auto& [sample, each] : quarantined) {
    if (listed++ == kListedInError) break;
    list += fmt::format("\n  {} {}", each.id, each.reason);
  }
  fail_input(
      fmt::format("{} of {} images cannot be read, more than the {} that are tolerated; repair or remove them:{}",
                  quarantined.size(), data->size(), options.quarantine_budget, list));
}

Batch Loader::State::finish(Job& job) {
  if (job.error) std::rethrow_exception(job.error);
  Batch batch = std::move(job.batch);
  for (Job::Item& item : job.items) {
    batch.replaced += item.replaced;
    for (Quarantined& q : item.quarantined) note(q), batch.quarantined.push_back(std::move(q));
  }
  std::vector<const SampleText*> rows;
  for (size_t i = 0; i < job.items.size(); ++i) {
    if (job.items[i].sample < 0) continue;
    rows.push_back(&job.items[i].text);
    const size_t to = batch.samples.size();
    batch.samples.push_back(job.items[i].sample);
    if (to == i) continue;  // those after a gap move up
    auto move = [&](Tensor t, int64_t bytes) {
      if (t)
        std::memcpy(static_cast<char*>(t.data) + int64_t(to) * bytes, static_cast<char*>(t.data) + int64_t(i) * bytes,
                    size_t(bytes));
    };
    move(batch.pixels, pipeline.bytes()), move(batch.labels, 4), move(batch.keys, 8);
  }
  if (options.pass == Pass::training && batch.samples.size() < job.items.size())
    fail_input(fmt::format("no readable image was found in {} attempts to replace '{}'; is the data still there?",
                           kSubstituteAttempts, batch.quarantined.front().id));
  const int64_t n = batch.size();
  for (Tensor* t : {&batch.pixels, &batch.keys, &batch.labels, &batch.other_labels, &batch.shares})
    if (*t) *t = t->slice(0, n);
  if (data->has_text())
    for (int64_t sample : batch.samples) batch.images.push_back(data->image(sample));
  if (texts) texts->collate(rows, job.text_length, options.batch_size, Layout(options).text, batch);
  return batch;
}

// Memory of batches that nobody holds any more is used again.
std::shared_ptr<Buffer> Loader::State::storage(int64_t bytes) {
  for (auto& buffer : pool)
    if (buffer.use_count() == 1) return buffer;
  return pool.emplace_back(std::make_shared<Buffer>(host_memory_near(options.device, bytes)));
}

void Loader::State::top_up() {
  if (!options.workers) return;
  while (int64_t(queue.size()) <= options.prefetch && next_job < last_job()) queue.push_back(make_job(next_job++));
  work_there.notify_all();
}

void Loader::State::work(std::stop_token stop) {
  std::unique_lock lock(mutex);
  for (;;) {
    Job* job = nullptr;
    auto find = [&] {
      for (auto& each : queue)
        if (each->taken < each->items.size()) return job = each.get(), true;
      return false;
    };
    if (!work_there.wait(lock, stop, find) || stop.stop_requested()) return;
    const size_t item = job->taken++;
    lock.unlock();
    std::exception_ptr error;
    try {
      fill(*job, item);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    if (error && !job->error) job->error = error;
    if (++job->finished == job->items.size()) job_done.notify_all();
  }
}

std::unique_ptr<Job> Loader::State::prepared() {
  std::unique_ptr<Job> job;
  if (!options.workers) {
    job = make_job(next_job++);
    for (size_t i = 0; i < job->items.size(); ++i) fill(*job, i);
    return job;
  }
  std::unique_lock lock(mutex);
  job_done.wait(lock, [&] { return queue.front()->finished == queue.front()->items.size(); });
  job = std::move(queue.front());
  queue.pop_front();
  top_up();
  return job;
}

Loader::Loader(DatasetPtr data, LoaderOptions options, int64_t start_step)
    : state_(std::make_unique<State>(std::move(data), std::move(options), start_step)) {}
Loader::~Loader() = default;

const BatchPlan& Loader::plan() const { return state_->plan; }
bool Loader::done() const { return state_->handed_out >= state_->last_job(); }
double Loader::seconds_waiting() const { return state_->waited; }
const std::map<int64_t, Quarantined>& Loader::quarantined() const { return state_->quarantined; }

void Loader::restart() {
  expect(state_->options.pass == Pass::evaluation && done(), "only a finished evaluation can begin again");
  std::unique_lock lock(state_->mutex);
  state_->next_job = state_->handed_out = 0;
  state_->top_up();
}

Batch Loader::next() {
  expect(!done(), "a batch was asked for after the last one of an evaluation");
  const auto start = std::chrono::steady_clock::now();
  std::unique_ptr<Job> job = state_->prepared();
  ++state_->handed_out;
  Batch batch = state_->finish(*job);
  state_->waited += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return batch;
}

}  // namespace viaduct
