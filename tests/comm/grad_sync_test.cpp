#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <optional>

#include "comm/ddp.hpp"
#include "comm/self_comm.hpp"
#include "comm/shards.hpp"
#include "comm/thread_comm.hpp"
#include "tests/support/synced_step.hpp"
#include "tests/support/test_ctx.hpp"

namespace viaduct {
namespace {

void add_blocks(ParameterStore& store, std::initializer_list<int64_t> sizes, DType dtype = DType::f32) {
  for (int64_t size : sizes) {
    std::string name = "block" + std::to_string(store.blocks().size());
    store.block(name, [&] { store.add(name + ".weight", {size}); });
  }
  store.materialize(Device::cpu(), dtype, true);
}

std::string finish_message(test::SyncedStep& step) {
  try {
    step.finish();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(Buckets, CloseAtTheSizeAndKeepTheLastSmall) {
  std::vector<Range> blocks{{64, 128}, {128, 256}, {256, 512}, {512, 1024}};
  using R = std::vector<Range>;
  EXPECT_EQ(make_buckets(blocks, 4, 1), (R{{512, 1024}, {256, 512}, {128, 256}, {0, 128}}));
  EXPECT_EQ(make_buckets(blocks, 4, 700 * 4), (R{{256, 1024}, {128, 256}, {0, 128}}));
  EXPECT_EQ(make_buckets(blocks, 4, 1000 * 4), (R{{128, 1024}, {0, 128}})) << "the first block goes alone";
  EXPECT_EQ(make_buckets(blocks, 4, 1024 * 4), (R{{0, 1024}})) << "all fit in one";
  EXPECT_EQ(make_buckets({{64, 128}}, 4, 1), (R{{0, 128}}));
}

const std::vector<std::string> kStrategies{"ddp", "fast_ddp", "zero1", "zero2"};

TEST(Shards, AreCutAtChunksOfTheNorm) {
  using R = std::vector<Range>;
  EXPECT_EQ(make_shards({64, 64 + 5 * 65536 + 7}, 3), (R{{64, 131136}, {131136, 262208}, {262208, 327751}}));
  EXPECT_EQ(make_shards({64, 1000}, 3), (R{{64, 1000}, {1000, 1000}, {1000, 1000}})) << "chunks are never divided";
  EXPECT_EQ(within({{64, 100}, {100, 200}, {200, 300}}, {90, 250}), (R{{0, 10}, {10, 110}, {110, 160}}));
  EXPECT_EQ(optimizer_range("ddp", {64, 200000}, 1, 2), (Range{64, 200000}));
  EXPECT_EQ(optimizer_range("zero1", {64, 200000}, 1, 2), (Range{131136, 200000}));
}

class Reports : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    add_blocks(store, {3, 4, 5});
    sync = make_grad_sync({.strategy = GetParam(), .bucket_mb = 1e-6}, store, comm);
    step.emplace(*sync);
  }
  ParameterStore store;
  SelfComm comm;
  std::unique_ptr<GradSync> sync;
  std::optional<test::SyncedStep> step;
};
INSTANTIATE_TEST_SUITE_P(Strategies, Reports, testing::ValuesIn(kStrategies));

TEST_P(Reports, NamesBlocksThatWereNeverReported) {
  step->begin(true);
  sync->ready(store.blocks()[1]);
  std::string message = finish_message(*step);
  EXPECT_NE(message.find("never reported ready: block0, block2"), std::string::npos) << message;
}

TEST_P(Reports, NamesBlocksThatWereReportedTwice) {
  step->begin(true);
  report_all(store, *sync);
  sync->ready(store.blocks()[1]);
  std::string message = finish_message(*step);
  EXPECT_NE(message.find("more than once: block1"), std::string::npos) << message;
}

TEST_P(Reports, EveryPassIsChecked) {
  step->begin(false);
  sync->ready(store.blocks()[0]);
  EXPECT_THROW(step->begin(true), Error);
}

TEST_P(Reports, RefusesWhatIsOutOfOrder) {
  float loss = 1;
  Tensor losses{&loss, {1}, DType::f32, Device::cpu()};
  EXPECT_THROW(sync->ready(store.blocks()[0]), Error) << "before begin";
  EXPECT_THROW(step->finish(), Error) << "before begin";
  EXPECT_THROW(sync->add_loss(losses, 1), Error) << "before begin";
  step->begin(true);
  EXPECT_THROW(sync->ready({64, 65}), Error) << "no block";
  report_all(store, *sync);
  EXPECT_EQ(step->finish().terms, 0);
}

TEST(Ddp, RefusesALossWhenTheTailIsOnItsWay) {
  ParameterStore store;
  add_blocks(store, {3, 4, 5});
  SelfComm comm;
  Ddp sync(store, comm, {});
  float loss = 1;
  test::SyncedStep step(sync);
  step.begin(true);
  report_all(store, sync);
  EXPECT_THROW(sync.add_loss({&loss, {1}, DType::f32, Device::cpu()}, 1), Error);
}

TEST_P(Reports, BlocksMayBecomeReadyInAnyOrder) {
  step->begin(true, {.stop = 1});
  for (int i : {1, 0, 2}) sync->ready(store.blocks()[size_t(i)]);
  EXPECT_EQ(step->finish().stop, 1);
}

class Strategies : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, Strategies, testing::ValuesIn(kStrategies));

TEST_P(Strategies, BlocksMayBecomeReadyInAnotherOrderOnEachRank) {
  run_ranks(3, [&](Communicator& comm) {
    ParameterStore store;
    add_blocks(store, {30, 40, 50});
    auto sync = make_grad_sync({.strategy = GetParam(), .bucket_mb = 1e-6}, store, comm);
    test::SyncedStep synced(*sync);
    for (int step = 0; step < 20; ++step) {
      store.zero_gradients(test::host_stream());
      synced.begin(true);
      for (int k = 0; k < 3; ++k) {
        Range block = store.blocks()[size_t((k + comm.rank() + step) % 3)];
        data<float>(sync->open(block))[0] = float(block.begin + comm.rank());
        sync->ready(block);
      }
      synced.finish();
      Range mine = optimizer_range(GetParam(), store.range(), comm.rank(), 3);
      for (Range block : store.blocks())
        if (mine.contains(block))
          expect(data<float>(store.grads(block))[0] == float(3 * block.begin + 3), "sums stay in their blocks");
    }
  });
}

TEST_P(Strategies, AFailureOfTheCommunicationSurfaces) {
  EXPECT_THROW(run_ranks(2,
                         [&](Communicator& comm) {
                           ParameterStore store;
                           add_blocks(store, {comm.rank() ? 100 : 1000});  // the ranks disagree about the model
                           auto sync = make_grad_sync({.strategy = GetParam()}, store, comm);
                           test::SyncedStep synced(*sync);
                           synced.begin(true);
                           report_all(store, *sync);
                           synced.finish();
                         }),
               Error);
}

TEST(MakeGradSync, RefusesWhatItDoesNotKnow) {
  ParameterStore store;
  add_blocks(store, {3});
  SelfComm comm;
  EXPECT_THROW(make_grad_sync({.strategy = "zero9"}, store, comm), Error);
  EXPECT_THROW(make_grad_sync({.bucket_mb = 0}, store, comm), Error);
  EXPECT_THROW(make_grad_sync({.bucket_mb = std::nan("")}, store, comm), Error);
}

}  // namespace
}  // namespace viaduct
