#include "train/retrieval.hpp"

#include <algorithm>
#include <cstring>

#include "core/base/check.hpp"
#include "core/base/range.hpp"

namespace viaduct {
namespace {

constexpr int64_t kRanks[] = {1, 5, 10};

std::string bytes_of(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}
void append(std::vector<float>& values, const std::string& bytes) {
  if (bytes.empty()) return;  // a rank without samples
  size_t at = values.size();
  values.resize(at + bytes.size() / sizeof(float));
  std::memcpy(values.data() + at, bytes.data(), bytes.size());
}

float dot(const float* a, const float* b, int64_t n) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

struct Vectors {
  std::vector<float> values;    // [n, width]
  std::vector<int64_t> groups;  // [n], of the image that each belongs to
  int64_t size() const { return int64_t(groups.size()); }
};

// For these of the queries: how many candidates of other groups are at least as similar as the best of its own.
std::vector<int64_t> ranks_of(const Vectors& queries, Range some, const Vectors& candidates, int64_t width) {
  std::vector<int64_t> ranks(size_t(some.size()));
#pragma omp parallel for
  for (int64_t q = some.begin; q < some.end; ++q) {
    const int64_t group = queries.groups[size_t(q)];
    std::vector<float> scores(candidates.groups.size());
    float own = -2;  // below every cosine
    for (size_t c = 0; c < scores.size(); ++c) {
      scores[c] = dot(queries.values.data() + q * width, candidates.values.data() + int64_t(c) * width, width);
      if (candidates.groups[c] == group) own = std::max(own, scores[c]);
    }
    int64_t& rank = ranks[size_t(q - some.begin)];
    for (size_t c = 0; c < scores.size(); ++c)
      rank += candidates.groups[c] != group && !(scores[c] < own);  // one that is not a number counts too
  }
  return ranks;
}

// Every rank takes its share of the queries.
void add_recalls(std::map<std::string, double>& metrics, const std::string& name, const Vectors& queries,
                 const Vectors& candidates, int64_t width, Communicator& comm) {
  const auto ranks = ranks_of(queries, split_evenly(queries.size(), comm.rank(), comm.size()), candidates, width);
  std::vector<double> hits;
  for (int64_t k : kRanks)
    hits.push_back(double(std::count_if(ranks.begin(), ranks.end(), [&](int64_t rank) { return rank < k; })));
  Stream stream(Device::cpu());
  comm.all_reduce(Tensor{hits.data(), {int64_t(hits.size())}, DType::f64, Device::cpu()}, Reduce::sum, stream);
  for (size_t i = 0; i < hits.size(); ++i)
    metrics[fmt::format("eval_{}_recall@{}", name, kRanks[i])] =
        queries.size() == 0 ? 0 : hits[i] / double(queries.size());
}

}  // namespace

void Retrieval::add(const std::string& image, const float* text_vector, const float* image_vector) {
  images_.push_back(image);
  texts_.insert(texts_.end(), text_vector, text_vector + width_);
  pictures_.insert(pictures_.end(), image_vector, image_vector + width_);
}

std::map<std::string, double> Retrieval::recalls(Communicator& comm) {
  std::string names;
  for (const std::string& image : images_) names += image + '\0';
  Vectors texts, images;  // every image once
  std::vector<float> pictures;
  std::map<std::string, int64_t> group_of;
  for (const std::string& part : comm.all_gather_text(bytes_of(texts_))) append(texts.values, part);
  for (const std::string& part : comm.all_gather_text(bytes_of(pictures_))) append(pictures, part);
  for (const std::string& part : comm.all_gather_text(names))
    for (size_t at = 0; at < part.size(); at = part.find('\0', at) + 1) {
      auto [group, fresh] = group_of.emplace(part.c_str() + at, int64_t(group_of.size()));
      if (fresh) {
        auto row = pictures.begin() + texts.size() * width_;
        images.values.insert(images.values.end(), row, row + width_);
        images.groups.push_back(group->second);
      }
      texts.groups.push_back(group->second);
    }
  images_.clear(), texts_.clear(), pictures_.clear();
  expect(int64_t(texts.values.size()) == texts.size() * width_, "there is one vector per text");
  std::map<std::string, double> metrics;
  add_recalls(metrics, "text_to_image", texts, images, width_, comm);
  add_recalls(metrics, "image_to_text", images, texts, width_, comm);
  return metrics;
}

}  // namespace viaduct
