#include "train/retrieval.hpp"

#include <algorithm>
#include <cstring>

#include "core/base/check.hpp"

namespace viaduct {
namespace {

constexpr int64_t kRanks[] = {1, 5, 10};

std::string bytes_of(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}
void append(std::vector<float>& values, const std::string& bytes) {
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

// For query vectors of groups: how many candidates of other groups are at least as similar as the best of its own.
std::vector<int64_t> ranks_of(const std::vector<float>& queries, const std::vector<int64_t>& query_group,
                              const std::vector<float>& candidates, const std::vector<int64_t>& candidate_group,
                              int64_t width) {
  std::vector<int64_t> ranks(query_group.size());
#pragma omp parallel for
  for (size_t q = 0; q < query_group.size(); ++q) {
    std::vector<float> scores(candidate_group.size());
    float own = -2;  // below every cosine
    for (size_t c = 0; c < candidate_group.size(); ++c) {
      scores[c] = dot(queries.data() + int64_t(q) * width, candidates.data() + int64_t(c) * width, width);
      if (candidate_group[c] == query_group[q]) own = std::max(own, scores[c]);
    }
    for (size_t c = 0; c < candidate_group.size(); ++c)
      ranks[q] += candidate_group[c] != query_group[q] && !(scores[c] < own);  // one that is not a number counts too
  }
  return ranks;
}

void add_recalls(std::map<std::string, double>& metrics, const std::string& name, const std::vector<int64_t>& ranks) {
  for (int64_t k : kRanks) {
    auto hits = std::count_if(ranks.begin(), ranks.end(), [&](int64_t rank) { return rank < k; });
    metrics[fmt::format("eval_{}_recall@{}", name, k)] = ranks.empty() ? 0 : double(hits) / double(ranks.size());
  }
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
  std::vector<float> texts, pictures, unique;
  std::vector<int64_t> groups, unique_groups;
  std::map<std::string, int64_t> group_of;
  for (const std::string& part : comm.all_gather_text(bytes_of(texts_))) append(texts, part);
  for (const std::string& part : comm.all_gather_text(bytes_of(pictures_))) append(pictures, part);
  for (const std::string& part : comm.all_gather_text(names))
    for (size_t at = 0; at < part.size(); at = part.find('\0', at) + 1) {
      auto [group, fresh] = group_of.emplace(part.c_str() + at, int64_t(group_of.size()));
      if (fresh) {
        auto row = pictures.begin() + int64_t(groups.size()) * width_;
        unique.insert(unique.end(), row, row + width_);
        unique_groups.push_back(group->second);
      }
      groups.push_back(group->second);
    }
  images_.clear(), texts_.clear(), pictures_.clear();
  expect(int64_t(texts.size()) == int64_t(groups.size()) * width_, "there is one vector per text");
  std::map<std::string, double> metrics;
  add_recalls(metrics, "text_to_image", ranks_of(texts, groups, unique, unique_groups, width_));
  add_recalls(metrics, "image_to_text", ranks_of(unique, unique_groups, texts, groups, width_));
  return metrics;
}

}  // namespace viaduct
