#include "train/teacher_cache.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "core/base/check.hpp"
#include "core/base/log.hpp"

namespace viaduct {
namespace {

uint64_t number(const Hasher& hasher) { return std::stoull(hasher.hex(), nullptr, 16); }
uint64_t hash_of_pixels(const Batch& batch, int64_t row) {
  const Tensor pixels = batch.pixels.slice(row, row + 1);
  Hasher hasher;
  hasher.add(pixels.data, pixels.bytes());
  return number(hasher);
}

constexpr int64_t kFlushAt = 16384;  // records
constexpr int64_t kWarnings = 5;
constexpr const char *kKeys = "keys", *kHashes = "hashes", *kValues = "values", *kClasses = "classes";

// The first line in which two descriptions differ.
std::string difference(const std::string& theirs, const std::string& ours) {
  size_t a = 0, b = 0;
  while (a < theirs.size() && b < ours.size()) {
    size_t end_a = std::min(theirs.find('\n', a), theirs.size()), end_b = std::min(ours.find('\n', b), ours.size());
    std::string line_a = theirs.substr(a, end_a - a), line_b = ours.substr(b, end_b - b);
    if (line_a != line_b) return fmt::format("'{}', and this run has '{}'", line_a, line_b);
    a = end_a + 1, b = end_b + 1;
  }
  return "other things than this run";
}

}  // namespace

TeacherCache::TeacherCache(const Path& folder, const std::string& about, int64_t classes, StoredAnswer stored,
                           bool counted)
    : folder_(folder), about_(about), classes_(classes), stored_(stored), counted_(counted) {
  if (stored_.top_k >= classes) stored_.top_k = 0;
  about_ += fmt::format("kept: {} of {} logits in {}\n", stored_.top_k ? stored_.top_k : classes, classes,
                        name_of(stored_.dtype));
  make_folders(folder_);
  look_for_files();
}

TeacherCache::~TeacherCache() {
  try {
    flush();
  } catch (const std::exception& e) {
    log::warn("the last answers of the teacher are not in its cache: {}", e.what());
  }
}

TeacherCache::Key TeacherCache::key_of(const Batch& batch, int64_t row) const {
  return {batch.samples[size_t(row)], counted_ ? data<int64_t>(batch.keys)[row] : 0};
}

uint64_t TeacherCache::hash_of(const Key& key, const Record& r) const {
  Hasher hasher;
  hasher.add(&key, sizeof key), hasher.add(&r.pixels, sizeof r.pixels);
  hasher.add(r.values.data(), int64_t(r.values.size() * sizeof(float)));
  hasher.add(r.classes.data(), int64_t(r.classes.size() * sizeof(int32_t)));
  return number(hasher);
}

// With top_k the last value is a logit for each of the others: it gives them together the probability that they had.
TeacherCache::Record TeacherCache::record_of(const float* logits, uint64_t pixels) const {
  Record r{.pixels = pixels};
  if (stored_.top_k == 0) {
    r.values.assign(logits, logits + classes_);
  } else {
    std::vector<int32_t> order(static_cast<size_t>(classes_));
    std::iota(order.begin(), order.end(), 0);
    auto k = order.begin() + stored_.top_k;
    std::partial_sort(order.begin(), k, order.end(),
                      [&](int32_t a, int32_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; });
    r.classes.assign(order.begin(), k);
    for (int32_t c : r.classes) r.values.push_back(logits[c]);
    double sum = 0;
    for (auto c = k; c != order.end(); ++c) sum += std::exp(double(logits[*c]) - logits[order[0]]);
    const double rest = logits[order[0]] + std::log(sum / double(classes_ - stored_.top_k));
    r.values.push_back(std::isfinite(rest) ? float(rest) : std::numeric_limits<float>::lowest());
  }
  if (stored_.dtype == DType::bf16)
    for (float& v : r.values) v = float(bf16(v));
  return r;
}

void TeacherCache::expand(const Record& r, float* logits) const {
  if (stored_.top_k == 0) {
    std::copy(r.values.begin(), r.values.end(), logits);
    return;
  }
  std::fill_n(logits, classes_, r.values.back());
  for (size_t i = 0; i < r.classes.size(); ++i) logits[r.classes[i]] = r.values[i];
}

// Whether the record is there, whole, and of these pixels.
bool TeacherCache::read(const Key& key, uint64_t pixels, Record& r) {
  if (auto waiting = pending_at_.find(key); waiting != pending_at_.end()) {
    r = pending_[waiting->second].second;
    return r.pixels == pixels;
  }
  auto place = places_.find(key);
  if (place == places_.end()) return false;
  const Hdf5File& file = files_[place->second.file];
  const Range row{place->second.row, place->second.row + 1};
  std::string why;
  try {
    int64_t hashes[2];
    file.read(kHashes, row, {hashes, {1, 2}, DType::i64, Device::cpu()});
    r.pixels = uint64_t(hashes[0]), r.hash = uint64_t(hashes[1]);
    r.values.resize(size_t(width()));
    Tensor values{r.values.data(), {1, width()}, DType::f32, Device::cpu()};
    std::vector<bf16> halves(r.values.size());
    if (stored_.dtype == DType::bf16) values = {halves.data(), {1, width()}, DType::bf16, Device::cpu()};
    file.read(kValues, row, values);
    if (stored_.dtype == DType::bf16) std::copy(halves.begin(), halves.end(), r.values.begin());
    r.classes.resize(size_t(stored_.top_k));
    if (stored_.top_k) file.read(kClasses, row, {r.classes.data(), {1, stored_.top_k}, DType::i32, Device::cpu()});
    if (r.hash != hash_of(key, r)) why = fmt::format("{}: a record is damaged", file.path().string());
  } catch (const Error& e) {
    why = e.what();
  }
  if (why.empty() && r.pixels == pixels) return true;
  if (why.empty()) why = fmt::format("{}: sample {} has other pixels now", file.path().string(), key.sample);
  if (warned_++ < kWarnings) log::warn("{}; the teacher is asked again", why);
  places_.erase(place);
  return false;
}

bool TeacherCache::find(const Batch& batch, Tensor answers) {
  expect(answers.shape == Shape({batch.size(), classes_}), "answers are a row of logits per sample");
  bool looked = false, all = true;
  Record r;
  for (int64_t row = 0; row < batch.size(); ++row) {  // all of them, so that stale ones are put aside
    const uint64_t pixels = hash_of_pixels(batch, row);
    const Key key = key_of(batch, row);
    bool there = read(key, pixels, r);
    if (!there && !std::exchange(looked, true)) look_for_files(), there = read(key, pixels, r);
    if (there) expand(r, data<float>(answers) + row * classes_);
    all &= there;
  }
  asked_ += batch.size(), found_ += all ? batch.size() : 0;
  return all;
}

void TeacherCache::add(const Batch& batch, Tensor answers) {
  for (int64_t row = 0; row < batch.size(); ++row) {
    float* logits = data<float>(answers) + row * classes_;
    const Key key = key_of(batch, row);
    Record r = record_of(logits, hash_of_pixels(batch, row));
    r.hash = hash_of(key, r);
    expand(r, logits);
    if (places_.contains(key)) continue;  // others of the batch were missing
    auto [at, fresh] = pending_at_.emplace(key, pending_.size());
    if (fresh)
      pending_.emplace_back(key, std::move(r));
    else
      pending_[at->second].second = std::move(r);
  }
  if (int64_t(pending_.size()) >= kFlushAt) flush();
}

void TeacherCache::flush() {
  if (pending_.empty()) return;
  const int64_t n = int64_t(pending_.size());
  std::vector<int64_t> keys, hashes;
  std::vector<float> values;
  std::vector<bf16> halves;
  std::vector<int32_t> classes;
  for (const auto& [key, r] : pending_) {
    keys.insert(keys.end(), {key.sample, key.counter});
    hashes.insert(hashes.end(), {int64_t(r.pixels), int64_t(r.hash)});
    values.insert(values.end(), r.values.begin(), r.values.end());
    classes.insert(classes.end(), r.classes.begin(), r.classes.end());
  }
  auto column = [&](auto& v, int64_t columns) {
    using T = typename std::remove_reference_t<decltype(v)>::value_type;
    return Tensor{v.data(), {n, columns}, dtype_of<T>, Device::cpu()};
  };
  if (stored_.dtype == DType::bf16) halves.assign(values.begin(), values.end());
  std::vector<Hdf5Column> columns{
      {kKeys, column(keys, 2)},
      {kHashes, column(hashes, 2)},
      {kValues, stored_.dtype == DType::bf16 ? column(halves, width()) : column(values, width())}};
  if (stored_.top_k) columns.push_back({kClasses, column(classes, stored_.top_k)});
  Hasher hasher;  // a name that no other rank or run gives its file
  hasher.add(keys.data(), int64_t(keys.size() * sizeof(int64_t)));
  const std::string host = log::identity().host;
  const Path path = folder_ / fmt::format("{}-{}-{}-{}.h5", host, ::getpid(), hasher.hex(), log::identity().rank);
  write_hdf5(path, about_, columns);
  pending_.clear(), pending_at_.clear();
  look_for_files();
}

// Opens what is there by now and was not before.
void TeacherCache::look_for_files() {
  std::vector<Path> fresh;
  for (const auto& entry : std::filesystem::directory_iterator(folder_))
    if (const std::string name = entry.path().filename().string();
        name.ends_with(".h5") && !name.starts_with(".") && !known_.contains(name))
      fresh.push_back(entry.path());
  std::sort(fresh.begin(), fresh.end());
  for (const Path& path : fresh) {
    bool& whole = known_[path.filename().string()] = false;
    try {
      Hdf5File file(path);
      if (const std::string theirs = file.about(); theirs != about_)
        fail_config(
            fmt::format("task.cache: {} was made with {}; choose another folder, or remove the files of this one",
                        path.string(), difference(theirs, about_)));
      const int64_t rows = file.rows(kKeys);
      if (rows > int64_t(std::filesystem::file_size(path)) / int64_t(2 * sizeof(int64_t)))
        fail_input(fmt::format("{}: says that it has {} records, more than fit into it", path.string(), rows));
      std::vector<int64_t> keys(size_t(2 * rows));
      file.read(kKeys, {0, rows}, {keys.data(), {rows, 2}, DType::i64, Device::cpu()});
      for (int64_t row = 0; row < rows; ++row)
        places_[{keys[size_t(2 * row)], keys[size_t(2 * row + 1)]}] = {files_.size(), row};
      files_.push_back(std::move(file));
      whole = true;
    } catch (const Error& e) {
      if (e.code() == Exit::config) throw;
      log::warn("{}; what it held is asked again", e.what());
    }
  }
}

}  // namespace viaduct
