#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "comm/ddp.hpp"
#include "comm/self_comm.hpp"
#include "comm/shards.hpp"
#include "comm/step_tail.hpp"
#include "comm/thread_comm.hpp"

namespace viaduct {
namespace {

void add_blocks(ParameterStore& store, std::initializer_list<int64_t> sizes, DType dtype = DType::f32) {
  for (int64_t size : sizes) {
    std::string name = "block" + std::to_string(store.blocks().size());
    store.block(name, [&] { store.add(name + ".weight", {size}); });
  }
  store.materialize(Device::cpu(), dtype, true);
}

std::string finish_message(GradSync& sync) {
  try {
    sync.finish();
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
  }
  ParameterStore store;
  SelfComm comm;
  std::unique_ptr<GradSync> sync;
};
INSTANTIATE_TEST_SUITE_P(Strategies, Reports, testing::ValuesIn(kStrategies));

TEST_P(Reports, NamesBlocksThatWereNeverReported) {
  sync->begin({}, true);
  sync->ready(store.blocks()[1]);
  std::string message = finish_message(*sync);
  EXPECT_NE(message.find("never reported ready: block0, block2"), std::string::npos) << message;
}

TEST_P(Reports, NamesBlocksThatWereReportedTwice) {
  sync->begin({}, true);
  report_all(store, *sync);
  sync->ready(store.blocks()[1]);
  std::string message = finish_message(*sync);
  EXPECT_NE(message.find("more than once: block1"), std::string::npos) << message;
}

TEST_P(Reports, EveryPassIsChecked) {
  sync->begin({}, false);
  sync->ready(store.blocks()[0]);
  EXPECT_THROW(sync->begin({}, true), Error);
}

TEST_P(Reports, RefusesWhatIsOutOfOrder) {
  float loss = 1;
  Tensor losses{&loss, {1}, DType::f32, Device::cpu()};
  EXPECT_THROW(sync->ready(store.blocks()[0]), Error) << "before begin";
  EXPECT_THROW(sync->finish(), Error) << "before begin";
  EXPECT_THROW(sync->add_loss(losses, 1), Error) << "before begin";
  sync->begin({}, true);
  EXPECT_THROW(sync->ready({64, 65}), Error) << "no block";
  report_all(store, *sync);
  EXPECT_EQ(sync->finish().terms, 0);
}

TEST(Ddp, RefusesALossWhenTheTailIsOnItsWay) {
  ParameterStore store;
  add_blocks(store, {3, 4, 5});
  SelfComm comm;
  Ddp sync(store, comm, {});
  float loss = 1;
  sync.begin({}, true);
  report_all(store, sync);
  EXPECT_THROW(sync.add_loss({&loss, {1}, DType::f32, Device::cpu()}, 1), Error);
}

TEST_P(Reports, BlocksMayBecomeReadyInAnyOrder) {
  sync->begin({.stop = 1}, true);
  for (int i : {1, 0, 2}) sync->ready(store.blocks()[size_t(i)]);
  EXPECT_EQ(sync->finish().stop, 1);
}

class Strategies : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, Strategies, testing::ValuesIn(kStrategies));

TEST_P(Strategies, BlocksMayBecomeReadyInAnotherOrderOnEachRank) {
  run_ranks(3, [&](Communicator& comm) {
    ParameterStore store;
    add_blocks(store, {30, 40, 50});
    auto sync = make_grad_sync({.strategy = GetParam(), .bucket_mb = 1e-6}, store, comm);
    for (int step = 0; step < 20; ++step) {
      store.zero_gradients();
      sync->begin({}, true);
      for (int k = 0; k < 3; ++k) {
        Range block = store.blocks()[size_t((k + comm.rank() + step) % 3)];
        data<float>(sync->open(block))[0] = float(block.begin + comm.rank());
        sync->ready(block);
      }
      sync->finish();
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
                           sync->begin({}, true);
                           report_all(store, *sync);
                           sync->finish();
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

template <class T>
StepTail summed(const std::vector<StepTail>& tails) {
  std::vector<T> sum(ParameterStore::kTailSlot), slot(sum.size());
  auto tensor = [](std::vector<T>& v) { return Tensor{v.data(), {int64_t(v.size())}, dtype_of<T>, Device::cpu()}; };
  for (const StepTail& tail : tails) {
    write_tail(tail, tensor(slot));
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += slot[i];
  }
  return read_tail(tensor(sum));
}

TEST(StepTail, SumsOverManyRanksAreExact) {
  std::vector<StepTail> tails;
  StepTail expected;
  for (int r = 0; r < kTailMaxRanks; ++r) {
    // Losses on a grid of 2^-20, so that the double sum beside them is exact too; of both signs, with all digits in
    // use.
    StepTail tail{double((r * 7919LL) % (1 << 30) - (1 << 29)) / (1 << 20), 2047 + r * 65537LL, r % 3, r % 2,
                  r % 5 == 0};
    expected.loss_sum += tail.loss_sum;
    expected.terms += tail.terms, expected.quarantined += tail.quarantined;
    expected.stop += tail.stop, expected.nonfinite += tail.nonfinite;
    tails.push_back(tail);
  }
  for (const StepTail& found : {summed<float>(tails), summed<double>(tails)}) {
    EXPECT_EQ(found.loss_sum, expected.loss_sum);
    EXPECT_EQ(found.terms, expected.terms);
    EXPECT_EQ(found.quarantined, expected.quarantined);
    EXPECT_EQ(found.stop, expected.stop);
    EXPECT_EQ(found.nonfinite, expected.nonfinite);
  }
}

TEST(StepTail, KeepsEveryBitOfALoss) {
  for (double loss :
       {0.0, 1.0 / 3, -1.0 / 3, 6.9077552789821368, 0x1p-60, 123456789.12345679, 0x1p50 - 0.125, -(0x1p50 - 0.125)})
    EXPECT_EQ(summed<float>({{loss}}).loss_sum, loss);
}

TEST(StepTail, ALossThatIsNotFiniteIsAFlagAndNotANumber) {
  const double nan = std::nan(""), infinite = std::numeric_limits<double>::infinity();
  StepTail found = summed<float>({{nan, 8}, {2.5, 8}, {-infinite, 8}, {0x1p50, 8}});
  EXPECT_EQ(found.nonfinite, 3);
  EXPECT_EQ(found.loss_sum, 2.5);
  EXPECT_EQ(found.terms, 32);
}

TEST(StepTail, LossesAreSummedInDouble) {
  std::vector<float> losses(1 << 20, 0.1f);
  Tensor tensor{losses.data(), {int64_t(losses.size())}, DType::f32, Device::cpu()};
  EXPECT_EQ(sum_losses(tensor), double(0.1f) * (1 << 20));
}

}  // namespace
}  // namespace viaduct
