// Recall against counting by hand, over any number of ranks.
#include "train/retrieval.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <mutex>

#include "comm/thread_comm.hpp"
#include "core/base/philox.hpp"
#include "core/base/range.hpp"

namespace viaduct {
namespace {

using Vector = std::vector<float>;
struct Sample {
  std::string image;
  Vector text, picture;
};

Vector unit(std::initializer_list<float> values) {
  double norm = 0;
  for (float v : values) norm += v * v;
  Vector out;
  for (float v : values) out.push_back(float(v / std::sqrt(norm)));
  return out;
}

std::map<std::string, double> recalls(const std::vector<Sample>& samples, int ranks = 1) {
  std::map<std::string, double> found;
  std::mutex mutex;
  run_ranks(ranks, [&](Communicator& comm) {
    Retrieval retrieval(samples.empty() ? 2 : int64_t(samples[0].text.size()));
    Range mine = split_evenly(int64_t(samples.size()), comm.rank(), ranks);
    for (int64_t i = mine.begin; i < mine.end; ++i) {
      const Sample& s = samples[size_t(i)];
      retrieval.add(s.image, s.text.data(), s.picture.data());
    }
    EXPECT_EQ(retrieval.size(), mine.size());
    auto all = retrieval.recalls(comm);
    EXPECT_EQ(retrieval.size(), 0);  // forgotten
    std::lock_guard lock(mutex);
    EXPECT_TRUE(found.empty() || found == all) << "ranks differ";
    found = all;
  });
  return found;
}

double cosine(const Vector& a, const Vector& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += double(a[i]) * b[i];
  return sum;
}

// Share of the queries of which a candidate of their own image is among the k best, by sorting.
template <class Query, class Candidate>
double by_hand(const std::vector<Sample>& queries, Query query, const std::vector<Sample>& candidates,
               Candidate candidate, size_t k) {
  double hits = 0;
  for (const Sample& q : queries) {
    std::vector<std::pair<double, std::string>> order;
    for (const Sample& c : candidates) order.emplace_back(-cosine(q.*query, c.*candidate), c.image);
    std::sort(order.begin(), order.end());
    bool hit = false;
    for (size_t i = 0; i < std::min(k, order.size()); ++i) hit |= order[i].second == q.image;
    hits += hit;
  }
  return hits / double(queries.size());
}

// 40 images with one to three texts each, the texts near their image.
std::vector<Sample> some_samples() {
  RandomSequence random(5, Draw::scene);
  auto draw = [&](const Vector& around, double noise) {
    Vector v(8);
    double norm = 0;
    for (size_t i = 0; i < v.size(); ++i) v[i] = around[i] + float(noise * random.uniform(-1, 1)), norm += v[i] * v[i];
    for (float& x : v) x = float(x / std::sqrt(norm));
    return v;
  };
  std::vector<Sample> samples;
  for (int image = 0; image < 40; ++image) {
    Vector picture = draw(Vector(8), 1);
    for (uint64_t texts = 1 + random.below(3); texts > 0; --texts)
      samples.push_back({"image " + std::to_string(image), draw(picture, 0.8), picture});
  }
  return samples;
}

TEST(Retrieval, RecallIsWhatSortingSays) {
  const auto texts = some_samples();
  std::vector<Sample> images;  // each once
  for (const Sample& s : texts)
    if (images.empty() || images.back().image != s.image) images.push_back(s);
  ASSERT_EQ(images.size(), 40u);
  ASSERT_GT(texts.size(), 60u);
  auto found = recalls(texts);
  ASSERT_EQ(found.size(), 6u);
  for (size_t k : {1, 5, 10}) {
    SCOPED_TRACE(k);
    double to_image = by_hand(texts, &Sample::text, images, &Sample::picture, k);
    double to_text = by_hand(images, &Sample::picture, texts, &Sample::text, k);
    EXPECT_DOUBLE_EQ(found.at("eval_text_to_image_recall@" + std::to_string(k)), to_image);
    EXPECT_DOUBLE_EQ(found.at("eval_image_to_text_recall@" + std::to_string(k)), to_text);
    EXPECT_TRUE(k > 1 || (to_image > 0.2 && to_image < 0.9)) << "neither all nor nothing: " << to_image;
  }
  // Rows of an image need not stand together, and the ranks share them as they fall.
  auto mixed = texts;
  for (size_t i = 0; i < mixed.size(); ++i) std::swap(mixed[i], mixed[(7 * i) % mixed.size()]);
  for (int ranks : {1, 3, 5}) EXPECT_EQ(recalls(mixed, ranks), found) << ranks << " ranks";
}

TEST(Retrieval, EveryTextOfAnImageIsRight) {
  Vector a = unit({1, 0}), b = unit({0, 1});
  // The image's second text is the nearest: a hit, though its first is further than another image's text.
  auto found = recalls({{"a", unit({-1, 0}), a}, {"a", a, a}, {"b", b, b}});
  EXPECT_EQ(found["eval_image_to_text_recall@1"], 1);
  EXPECT_DOUBLE_EQ(found["eval_text_to_image_recall@1"], 2.0 / 3);
}

TEST(Retrieval, TiesCountAgainst) {
  Vector a = unit({1, 0});
  auto found = recalls({{"a", a, a}, {"b", a, a}, {"c", unit({0, 1}), unit({0, 1})}});  // a and b cannot be told apart
  EXPECT_DOUBLE_EQ(found["eval_text_to_image_recall@1"], 1.0 / 3);
  EXPECT_DOUBLE_EQ(found["eval_image_to_text_recall@1"], 1.0 / 3);
  EXPECT_EQ(found["eval_text_to_image_recall@5"], 1);
  Vector nan = {NAN, NAN};
  auto broken = recalls({{"a", nan, nan}, {"b", nan, nan}});
  EXPECT_EQ(broken["eval_text_to_image_recall@1"], 0) << "vectors that are no numbers find nothing";
  EXPECT_EQ(broken["eval_image_to_text_recall@1"], 0);
}

TEST(Retrieval, OfNothingIsZero) {
  for (int ranks : {1, 2})
    for (const auto& [name, value] : recalls({}, ranks)) EXPECT_EQ(value, 0) << name;
  Vector a = unit({1, 0});
  EXPECT_EQ(recalls({{"a", a, a}}, 3)["eval_text_to_image_recall@1"], 1);  // two ranks have none
}

}  // namespace
}  // namespace viaduct
