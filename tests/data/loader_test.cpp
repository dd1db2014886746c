#include "data/loader.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <stdexcept>

#include "tests/data/image_tools.hpp"
#include "tests/support/messages.hpp"

namespace viaduct::test {
namespace {

// A copy of what a batch holds: its memory is used again once it is gone.
struct Content {
  std::vector<uint8_t> pixels;
  std::vector<int32_t> labels;
  std::vector<int64_t> keys, samples, quarantined;
  bool operator==(const Content&) const = default;
};
Content content(const Batch& b) {
  Content c;
  EXPECT_EQ(b.pixels.shape[0], b.size());
  c.pixels.assign(data<uint8_t>(b.pixels), data<uint8_t>(b.pixels) + b.pixels.numel());
  if (b.labels) c.labels.assign(data<int32_t>(b.labels), data<int32_t>(b.labels) + b.labels.numel());
  c.keys.assign(data<int64_t>(b.keys), data<int64_t>(b.keys) + b.keys.numel());
  c.samples = b.samples;
  for (const Quarantined& q : b.quarantined) c.quarantined.push_back(q.sample);
  return c;
}

LoaderOptions small(int workers = 0) {
  return {.batch_size = 4,
          .seed = 5,
          .processor = {.height = 16, .width = 18},
          .augment = Augment::standard,
          .workers = workers};
}

class LoaderTest : public testing::Test {
 protected:
  void make(int count, std::set<int> broken = {}) {
    write_class_folders(folder.path(), count);
    dataset = open_labelled(folder.path().string(), Split::train);
    for (int i : broken) write_bytes(folder.path() / dataset->id(i), "not an image");
  }
  std::vector<Content> read(LoaderOptions options, int count, int64_t start = 0) {
    Loader loader(dataset, options, start);
    std::vector<Content> all;
    for (int i = 0; i < count; ++i) all.push_back(content(loader.next()));
    return all;
  }
  TempFolder folder;
  DatasetPtr dataset;
  Log log;
};

TEST_F(LoaderTest, AnyNumberOfWorkersGivesTheSameBatches) {
  make(23, {2, 11});
  LoaderOptions options = small();
  options.accumulate = 2, options.rank = 1, options.ranks = 2;
  const auto reference = read(options, 15);
  EXPECT_TRUE(std::any_of(reference.begin(), reference.end(), [](const Content& c) { return !c.quarantined.empty(); }));
  for (int workers : {1, 3, 8})
    for (int prefetch : {0, 1, 4}) {
      options.workers = workers, options.prefetch = prefetch;
      EXPECT_EQ(read(options, 15), reference) << workers << " workers, " << prefetch << " ahead";
    }
}

TEST_F(LoaderTest, ResumingAtAnyStepContinuesTheSameBatches) {
  make(23, {4});
  LoaderOptions options = small();
  options.accumulate = 2;
  const auto reference = read(options, 18);  // nine steps, three epochs
  for (int64_t step = 0; step < 9; ++step) {
    options.workers = int(step % 3);
    const auto rest = read(options, int(18 - 2 * step), step);
    EXPECT_TRUE(std::equal(rest.begin(), rest.end(), reference.begin() + 2 * step)) << step;
  }
}

TEST_F(LoaderTest, TheGlobalBatchDoesNotDependOnTheNumberOfRanks) {
  make(23, {7});
  LoaderOptions one = small();
  one.batch_size = 8;
  const auto reference = read(one, 6);  // two epochs of 8 + 8 + 7
  for (int64_t ranks : {2, 4, 8}) {
    std::vector<std::vector<Content>> parts;
    for (int64_t rank = 0; rank < ranks; ++rank) {
      LoaderOptions options = small(1);
      options.batch_size = 8 / ranks, options.rank = rank, options.ranks = ranks;
      parts.push_back(read(options, 6));
    }
    for (size_t step = 0; step < 6; ++step) {
      Content joined;
      for (const auto& part : parts) {
        const Content& c = part[step];
        joined.pixels.insert(joined.pixels.end(), c.pixels.begin(), c.pixels.end());
        joined.labels.insert(joined.labels.end(), c.labels.begin(), c.labels.end());
        joined.keys.insert(joined.keys.end(), c.keys.begin(), c.keys.end());
        joined.samples.insert(joined.samples.end(), c.samples.begin(), c.samples.end());
        joined.quarantined.insert(joined.quarantined.end(), c.quarantined.begin(), c.quarantined.end());
      }
      EXPECT_EQ(joined, reference[step]) << ranks << " ranks, step " << step;
    }
  }
}

TEST_F(LoaderTest, AnEpochHoldsEverySampleOnceWithItsLabelAndKey) {
  make(23);
  Loader loader(dataset, small(2));
  EXPECT_EQ(loader.plan().steps_per_epoch(), 6);
  for (uint64_t epoch = 0; epoch < 2; ++epoch) {
    std::set<int64_t> seen;
    for (int step = 0; step < 6; ++step) {
      const Batch b = loader.next();
      for (int64_t i = 0; i < b.size(); ++i) {
        const int64_t sample = b.samples[size_t(i)];
        EXPECT_TRUE(seen.insert(sample).second);
        EXPECT_EQ(data<int32_t>(b.labels)[i], dataset->label(sample));
        EXPECT_EQ(uint64_t(data<int64_t>(b.keys)[i]), sample_key(5, epoch, uint64_t(sample)));
      }
    }
    EXPECT_EQ(seen.size(), 23u);
  }
}

TEST_F(LoaderTest, PixelsAreThoseOfThePipeline) {
  make(6);
  LoaderOptions options = small(1);
  const ImagePipeline pipeline(options.processor, options.augment);
  const Batch b = Loader(dataset, options).next();
  for (int64_t i = 0; i < b.size(); ++i) {
    std::vector<uint8_t> expected(size_t(pipeline.bytes()));
    pipeline.run(dataset->read(b.samples[size_t(i)]), uint64_t(data<int64_t>(b.keys)[i]), expected.data());
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), data<uint8_t>(b.pixels) + i * pipeline.bytes()));
  }
}

TEST_F(LoaderTest, EvaluationVisitsEachSampleOnceOverAllRanks) {
  for (int count : {1, 5, 23}) {
    make(count);
    for (int64_t ranks : {1, 2, 3, 7}) {
      std::vector<int64_t> seen;
      for (int64_t rank = 0; rank < ranks; ++rank) {
        LoaderOptions options = small(int(rank % 3));
        options.pass = Pass::evaluation, options.augment = Augment::none, options.rank = rank, options.ranks = ranks;
        Loader loader(dataset, options);
        while (!loader.done()) {
          const Batch b = loader.next();
          EXPECT_GE(b.size(), 1);
          seen.insert(seen.end(), b.samples.begin(), b.samples.end());
        }
        EXPECT_THROW(loader.next(), Error);
      }
      std::vector<int64_t> all(size_t(dataset->size()));
      for (size_t i = 0; i < all.size(); ++i) all[i] = int64_t(i);
      EXPECT_EQ(seen, all) << count << " samples, " << ranks << " ranks";
    }
  }
}

TEST_F(LoaderTest, ACorruptImageIsReplacedInTraining) {
  make(23, {3});
  int replaced = 0;
  Loader loader(dataset, small());
  const Sampler sampler(23, 5, true);
  for (int step = 0; step < 12; ++step) {  // two epochs
    const uint64_t epoch = uint64_t(step / 6);
    const Batch b = loader.next();
    const Range positions = loader.plan().micro_batch(step, 0, 0);
    ASSERT_EQ(b.size(), positions.size());
    for (int64_t i = 0; i < b.size(); ++i) {
      const int64_t wanted = sampler.at(epoch, positions.begin + i);
      EXPECT_EQ(uint64_t(data<int64_t>(b.keys)[i]), sample_key(5, epoch, uint64_t(wanted)));
      if (wanted != 3) {
        EXPECT_EQ(b.samples[size_t(i)], wanted);
        continue;
      }
      ++replaced;
      RandomSequence substitutes(sample_key(5, epoch, uint64_t(positions.begin + i)), Draw::substitute);
      EXPECT_EQ(b.samples[size_t(i)], int64_t(substitutes.below(23)));
      EXPECT_EQ(data<int32_t>(b.labels)[i], dataset->label(b.samples[size_t(i)]));
      ASSERT_EQ(b.quarantined.size(), 1u);
      EXPECT_EQ(b.quarantined[0].id, dataset->id(3));
      EXPECT_EQ(b.quarantined[0].reason, "is a text file, not a JPEG, PNG or WebP image");
    }
  }
  EXPECT_EQ(replaced, 2);
}

TEST_F(LoaderTest, APlaceCountsOnceHoweverManySubstitutesFail) {
  make(23, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15});
  LoaderOptions options = small();
  options.quarantine_budget = 15;
  Loader loader(dataset, options);
  int64_t replaced = 0, attempts = 0;
  for (int step = 0; step < 6; ++step) {  // an epoch
    const Batch b = loader.next();
    replaced += b.replaced, attempts += int64_t(b.quarantined.size());
  }
  EXPECT_EQ(replaced, 15);
  EXPECT_GT(attempts, replaced);
}

TEST_F(LoaderTest, ACorruptImageIsNamedOnce) {
  make(10, {6});
  Loader loader(dataset, small(2));
  for (int step = 0; step < 12; ++step) loader.next();  // four epochs
  EXPECT_EQ(loader.quarantined().size(), 1u);
  const size_t at = log.text.find(dataset->id(6));
  ASSERT_NE(at, log.text.npos) << log.text;
  EXPECT_EQ(log.text.find(dataset->id(6), at + 1), log.text.npos) << log.text;
}

TEST_F(LoaderTest, ACorruptImageIsLeftOutOfAnEvaluationAndReported) {
  make(10, {0, 5, 8, 9});
  LoaderOptions options = small();
  options.pass = Pass::evaluation, options.augment = Augment::none;
  const ImagePipeline pipeline(options.processor, options.augment);
  for (int workers : {0, 2}) {
    options.workers = workers;
    Loader loader(dataset, options);
    for (int round = 0; round < 2; ++round) {
      std::vector<int64_t> samples, left_out;
      while (!loader.done()) {
        const Batch b = loader.next();
        for (const Quarantined& q : b.quarantined) left_out.push_back(q.sample);
        for (int64_t i = 0; i < b.size(); ++i) {
          samples.push_back(b.samples[size_t(i)]);
          std::vector<uint8_t> expected(size_t(pipeline.bytes()));
          pipeline.run(dataset->read(samples.back()), 0, expected.data());
          EXPECT_TRUE(std::equal(expected.begin(), expected.end(), data<uint8_t>(b.pixels) + i * pipeline.bytes()));
          EXPECT_EQ(data<int32_t>(b.labels)[i], dataset->label(samples.back()));
          EXPECT_EQ(uint64_t(data<int64_t>(b.keys)[i]), sample_key(5, 0, uint64_t(samples.back())));
        }
      }
      EXPECT_EQ(samples, (std::vector<int64_t>{1, 2, 3, 4, 6, 7}));
      EXPECT_EQ(left_out, (std::vector<int64_t>{0, 5, 8, 9}));
      loader.restart();
    }
  }
}

TEST_F(LoaderTest, TheRunStopsPastTheBudget) {
  make(30, {1, 4, 9, 16, 25});
  for (int workers : {0, 3}) {
    LoaderOptions options = small(workers);
    options.quarantine_budget = 4;
    Loader loader(dataset, options);
    const std::string message = message_of([&] {
      for (int step = 0; step < 40; ++step) loader.next();
    });
    EXPECT_NE(message.find("5 of 30 images cannot be read, more than the 4"), message.npos) << message;
    for (int i : {1, 4, 9, 16, 25}) EXPECT_NE(message.find(dataset->id(i)), message.npos) << message;
    options.quarantine_budget = 5;
    EXPECT_EQ(read(options, 40).size(), 40u);
  }
}

TEST_F(LoaderTest, NothingReadableIsAnErrorAndNotAHang) {
  make(6, {0, 1, 2, 3, 4, 5});
  EXPECT_NE(message_of([&] { read(small(2), 1); }).find("no readable image"), std::string::npos);
}

// A dataset with a defect: its reads fail with something that is no input error.
struct Defective : Dataset {
  int64_t size() const override { return 40; }
  std::string id(int64_t i) const override { return std::to_string(i); }
  std::vector<uint8_t> read(int64_t i) const override {
    if (i == 21) throw std::runtime_error("a defect");
    return file;
  }
  bool has_labels() const override { return false; }
  int32_t label(int64_t) const override { return 0; }
  const std::vector<std::string>& classes() const override { return none; }
  std::vector<std::string> none;
  std::vector<uint8_t> file = encode_jpeg(test_image(20, 20, 1), 80);
};

TEST_F(LoaderTest, OtherExceptionsSurfaceInNext) {
  for (int workers : {0, 1, 3}) {
    LoaderOptions options = small(workers);
    options.shuffle = false;
    Loader loader(std::make_shared<Defective>(), options);
    for (int step = 0; step < 5; ++step)
      EXPECT_FALSE(loader.next().labels);  // no labels in the data, none in the batch
    EXPECT_THROW(loader.next(), std::runtime_error) << workers;
  }
}

TEST_F(LoaderTest, IsDestroyedAtAnyMoment) {
  make(12);
  for (int round = 0; round < 30; ++round) {
    LoaderOptions options = small(1 + round % 4);
    options.prefetch = 6;
    Loader loader(dataset, options);
    for (int i = 0; i < round % 3; ++i) loader.next();
  }
}

TEST_F(LoaderTest, ABatchOutlivesTheOnesAfterIt) {
  make(23);
  Loader loader(dataset, small(2));
  const Batch first = loader.next();
  const Content before = content(first);
  for (int i = 0; i < 10; ++i) loader.next();
  EXPECT_EQ(content(first), before);
}

TEST(AutomaticWorkers, LeaveCoresToTheStep) {
  EXPECT_EQ(automatic_workers(1), 1);
  EXPECT_EQ(automatic_workers(2), 1);
  EXPECT_EQ(automatic_workers(8), 4);
  EXPECT_EQ(automatic_workers(128), 16);
}

}  // namespace
}  // namespace viaduct::test
