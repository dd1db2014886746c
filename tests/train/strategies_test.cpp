// Whole runs by every strategy: the losses of one rank, whatever the number of ranks.
#include "comm/shards.hpp"
#include "tests/train/runs.hpp"
#include "train/engine.hpp"
#include "train/step_cut.hpp"

namespace viaduct::test {
namespace {

// Large enough that every one of four ranks has parameters of its own when they are sharded.
class Strategy : public Runs, public testing::WithParamInterface<std::string> {
 protected:
  Strategy()
      : Runs({{"data.train", (scenes() / "train").string()},
              {"model.hidden_size", "96"},
              {"model.num_hidden_layers", "3"},
              {"model.num_attention_heads", "2"},
              {"model.intermediate_size", "384"},
              {"model.image_size", "24"},
              {"model.patch_size", "8"},
              {"parallel.bucket_mb", "0.3"}}) {}
  Path train(const std::string& name, int ranks, Settings settings) {
    return Runs::train(
        name, ranks,
        Settings{{"parallel.strategy", GetParam()}, {"train.batch_size", std::to_string(8 / ranks)}} + settings);
  }
};
INSTANTIATE_TEST_SUITE_P(All, Strategy, testing::Values("ddp", "fast_ddp", "zero1", "zero2"));

TEST_P(Strategy, TheNumberOfRanksDoesNotChangeTheLosses) {
  auto one = steps(train("one", 1, {{"train.steps", "50"}}));
  ASSERT_EQ(50u, one.size());
  for (int ranks : {2, 4})
    expect_same_losses(one, steps(train(std::to_string(ranks), ranks, {{"train.steps", "50"}})), 1e-6);
}

// By what is the same arithmetic in the same order: the same bits.
TEST_P(Strategy, GivesTheWeightsOfDdp) {
  for (const char* precision : {"fp32", "bf16"}) {
    Settings settings{{"train.precision", precision}, {"train.lr", "1e-3"}};
    for (int ranks : {2, 4}) {
      auto name = [&](const char* what) { return fmt::format("{}-{}-{}", what, precision, ranks); };
      Path mine = train(name("mine"), ranks, settings);
      Path ddp = train(name("ddp"), ranks, settings + Settings{{"parallel.strategy", "ddp"}});
      EXPECT_TRUE(weights(mine) == weights(ddp)) << "final weights differ, " << precision << ", ranks " << ranks;
      auto a = steps(mine), b = steps(ddp);
      for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i]["grad_norm"], b[i]["grad_norm"]) << "step " << i;
    }
  }
}

// What was saved by one strategy and number of ranks goes on with any other.
TEST_P(Strategy, ACheckpointBelongsToNoStrategy) {
  for (const char* precision : {"fp32", "bf16"}) {
    Settings settings{{"train.precision", precision}, {"train.lr", "1e-3"}, {"run.checkpoint_every", "4"}};
    auto stopped = [&](const char* name, const Settings& more) {
      Path folder = runs_ / (std::string(name) + precision);
      EXPECT_THROW(
          train(folder.filename(), 2, settings + more + Settings{{"fault.kind", "throw"}, {"fault.step", "9"}}), Error);
      return folder / "checkpoints/step-00000008";
    };
    Path mine = stopped("mine", {}), ddp = stopped("ddp", {{"parallel.strategy", "ddp"}});
    for (const char* file : {"weights.safetensors", "adam_m.safetensors", "adam_v.safetensors"})
      EXPECT_TRUE(read_file(mine / file, 64 << 20) == read_file(ddp / file, 64 << 20)) << file;
    for (int ranks : {1, 4}) {
      auto resumed = [&](const char* strategy, const Path& from) {
        return weights(train(fmt::format("{}-{}-{}-{}", strategy, from.parent_path().parent_path().filename().string(),
                                         precision, ranks),
                             ranks,
                             settings + Settings{{"run.resume", from.string()}, {"parallel.strategy", strategy}}));
      };
      EXPECT_TRUE(resumed("ddp", mine) == resumed(GetParam().c_str(), ddp)) << precision << ", ranks " << ranks;
    }
  }
}

// The planned memory is what is allocated, and of what is divided a rank has its part.
TEST_P(Strategy, MemoryIsDividedAsPlanned) {
  for (const char* precision : {"fp32", "bf16"})
    for (int ranks : {1, 2, 4})
      run_ranks(ranks, [&](Communicator& comm) {
        Config config = config_of(model_ + Settings{{"parallel.strategy", GetParam()},
                                                    {"train.precision", precision},
                                                    {"data.workers", "0"}});
        Engine engine(resolve_model(config, {"a", "b"}), config, true, comm);
        const int64_t elements = engine.task().parameters().range().size();
        const int64_t whole = elements * 4 * (precision == std::string("bf16") ? 3 : 2);
        const bool divided = divides_optimizer(GetParam());
        const int64_t chunk = whole / elements * ops::kNormChunk;
        EXPECT_EQ(engine.plan().optimizer, engine.optimizer().bytes());
        EXPECT_LE(engine.plan().optimizer, (divided ? whole / ranks + chunk : whole) + 3 * 4096);
        EXPECT_GE(engine.plan().optimizer, divided ? 0 : whole);
        int64_t everywhere = 0;
        for (const std::string& bytes : comm.all_gather_text(std::to_string(engine.plan().optimizer)))
          everywhere += std::stoll(bytes);
        EXPECT_GE(everywhere, whole) << "every parameter has an optimizer";
      });
}

// What gradients take beside the store included: buckets, what travels in another type, fixed point.
TEST_P(Strategy, GradientMemoryIsAsPlanned) {
  for (const Settings& wire :
       {Settings{}, Settings{{"parallel.wire", "bf16"}}, Settings{{"parallel.reduction", "invariant"}}})
    for (int ranks : {1, 2, 4})
      run_ranks(ranks, [&](Communicator& comm) {
        Config config = config_of(model_ + wire + Settings{{"parallel.strategy", GetParam()}, {"data.workers", "0"}});
        Engine engine(resolve_model(config, {"a", "b"}), config, true, comm);
        ParameterStore& store = engine.task().parameters();
        auto sync = make_grad_sync(grad_sync_options(config, engine.source().choice, ranks), store, comm);
        Batch batch = engine.task().blank_batch(Device::cpu(), step_cut(config).samples);
        engine.work().ctx.sample_keys = batch.keys;
        for (int step = 0; step < 2; ++step) {
          sync->begin(engine.work().ctx, {}, true, true);
          engine.task().train(engine.work().ctx, batch, *sync);
          sync->finish();
        }
        EXPECT_EQ(engine.plan().gradients, store.grads().bytes() + sync->bytes()) << ranks << " ranks";
        const int64_t whole = store.range().size() * 4, tail = ParameterStore::kTailSlot * 4;
        const bool divided = divides_gradients(GetParam());
        EXPECT_LE(store.grads().bytes(), tail + (divided ? whole / ranks + ops::kNormChunk * 4 : whole));
        if (divided && wire.empty()) {
          EXPECT_LT(sync->bytes(), whole) << "buckets take turns";
        }
      });
}

TEST_P(Strategy, AFailingRankEndsTheOthers) {
  for (int rank : {0, 1})
    EXPECT_THROW(
        train("failing", 2, {{"fault.kind", "throw"}, {"fault.rank", std::to_string(rank)}, {"fault.step", "3"}}),
        Error);
}

}  // namespace
}  // namespace viaduct::test
