// Checkpoints: what is saved is read back to the bit, damage is found, a kill or a full disk costs nothing saved
// before.
#include "train/checkpoint.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>
#include <cstring>

#include "core/base/philox.hpp"
#include "models/safetensors.hpp"
#include "tests/support/messages.hpp"
#include "tests/support/temp_folder.hpp"

namespace viaduct {
namespace {

namespace fs = std::filesystem;
using test::Log;
using test::message_of;
using test::read_bytes;
using test::TempFolder;
using test::write_bytes;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

CheckpointValues values_in(const ParameterStore& store, const OptimizerTensors& t) {
  auto of = [&](Tensor trained) -> ValuesOf {
    std::vector<ValuePart> parts{{t.range, trained}};
    if (t.frozen) parts.push_back({store.frozen_range(), t.frozen});
    return [parts](const Parameter& p) { return values_of(parts, p); };
  };
  return {of(t.master), of(t.m), of(t.v)};
}

// A store with an optimizer's three buffers, each of other values.
struct Rig {
  explicit Rig(uint64_t seed, int64_t width = 33) : range{0, 0}, buffer(Device::cpu(), 1 << 20) {
    store.block("a", [&] { store.add("a.weight", {width, 3}), store.add("a.bias", {width}); });
    store.block("b", [&] { store.add("b.weight", {2, 5, 7}); });
    store.materialize(Device::cpu(), DType::bf16, false);
    range = store.range();
    RandomSequence random(seed, Draw::scene);
    for (const Parameter& p : store.parameters())
      for (Tensor t : {part(0), part(1), part(2)})
        for (int64_t i = p.range.begin - range.begin; i < p.range.end - range.begin; ++i)
          data<float>(t)[i] = float(random.uniform(-1, 1));
    state.set("step", int64_t(seed)), state.set("best", 0.1 * double(seed)), state.set("name", "run \"x\"");
  }
  Tensor part(int64_t i) const { return buffer.view(i << 18, {range.size()}, DType::f32); }
  OptimizerTensors tensors() const { return {range, part(0), part(1), part(2)}; }
  bool operator==(const Rig& o) const {
    return std::memcmp(buffer.data(), o.buffer.data(), size_t(buffer.bytes())) == 0;
  }

  ParameterStore store;
  Range range;
  Buffer buffer;
  RunState state;
};

std::vector<std::string> names_in(const Path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

Path save(const Path& folder, uint64_t step, std::optional<Score> score = {}, Retention keep = {}) {
  Rig rig(step);
  return save_checkpoint(folder, int64_t(step), rig.state, rig.store, values_in(rig.store, rig.tensors()), score, keep);
}
Score loss_of(double value) { return {value, true, "a loss"}; }

TEST(Checkpoint, IsReadBackToTheBit) {
  TempFolder folder;
  Path path = save(folder.path(), 120);
  EXPECT_EQ(path.filename(), "step-00000120");
  EXPECT_THAT(names_in(path), ElementsAre("adam_m.safetensors", "adam_v.safetensors", "manifest.json", "state.json",
                                          "weights.safetensors"));
  auto found = find_latest_checkpoint(folder.path());
  ASSERT_TRUE(found);
  Rig saved(120), loaded(7);
  EXPECT_EQ(found->path, path);
  EXPECT_EQ(found->step, 120);
  EXPECT_EQ(found->state, saved.state);
  EXPECT_FALSE(saved == loaded);
  load_checkpoint(found->path, loaded.store, loaded.tensors());
  EXPECT_TRUE(saved == loaded);
}

// As those of a large tokenizer, whose files may have 64 MiB.
TEST(Checkpoint, LongTextsOfTheStateAreReadBack) {
  TempFolder folder;
  Rig rig(1);
  std::string letters, controls(12 << 20, '\x01');
  for (int i = 0; i < 12 << 20; ++i) letters += "\u0120";
  rig.state.set("letters", letters), rig.state.set("controls", controls);
  Path path = save_checkpoint(folder.path(), 1, rig.state, rig.store, values_in(rig.store, rig.tensors()), {});
  EXPECT_TRUE(open_checkpoint(path).state == rig.state);
  EXPECT_LT(fs::file_size(path / "state.json"), letters.size() + 6 * controls.size() + 1000) << "two bytes stay two";
}

TEST(Checkpoint, ARankReadsItsPartAlone) {
  TempFolder folder;
  Path path = save(folder.path(), 5);
  Rig saved(5), other(6);
  for (Range part : {Range{64, 100}, Range{100, 290}, Range{290, saved.range.end}}) {
    Buffer buffer(Device::cpu(), 3 * 4096);
    auto view = [&](int64_t i) { return buffer.view(i * 4096, {part.size()}, DType::f32); };
    load_checkpoint(path, saved.store, {part, view(0), view(1), view(2)});
    for (int64_t i = 0; i < 3; ++i) {
      Tensor expected = saved.part(i).slice(part.begin - saved.range.begin, part.end - saved.range.begin);
      EXPECT_EQ(std::memcmp(view(i).data, expected.data, size_t(expected.bytes())), 0);
    }
  }
  load_checkpoint(path, other.store, {other.range, other.part(0), {}, {}});  // the weights alone
  EXPECT_EQ(std::memcmp(other.part(0).data, saved.part(0).data, size_t(saved.part(0).bytes())), 0);
  EXPECT_NE(std::memcmp(other.part(1).data, saved.part(1).data, size_t(saved.part(1).bytes())), 0);
}

TEST(Checkpoint, OfAnotherModelIsRefused) {
  TempFolder folder;
  Path path = save(folder.path(), 1);
  Rig wider(1, 34);
  EXPECT_THAT(message_of([&] { load_checkpoint(path, wider.store, wider.tensors()); }),
              HasSubstr("'a.weight': expected F32 [34, 3], found F32 [33, 3]; it belongs to another model"));
  ParameterStore less;
  less.block("a", [&] { less.add("a.weight", {33, 3}); });
  less.materialize(Device::cpu(), DType::f32, false);
  EXPECT_THAT(message_of([&] {
                load_checkpoint(path, less, {less.range(), less.values(less.range()), {}, {}});
              }),
              HasSubstr("expected the 1 tensors of this model, found 3"));
}

// A store of which a part is frozen, its values apart from those that an optimizer keeps.
struct HalfFrozen {
  explicit HalfFrozen(float first) : trained(Device::cpu(), 4096), frozen(Device::cpu(), 4096) {
    store.block(
        "tower",
        [&] {
          store.add("tower.weight", {5, 3});
        },
        true);
    store.block("head", [&] { store.add("head.weight", {7}); });
    store.materialize(Device::cpu(), DType::bf16, false);
    state.set("step", int64_t(1));
    for (int64_t i = 0; i < 256; ++i) data<float>(trained.view(0, {256}, DType::f32))[i] = first + float(i) / 3;
    for (int64_t i = 0; i < 256; ++i) data<float>(frozen.view(0, {256}, DType::f32))[i] = -first - float(i) / 7;
  }
  OptimizerTensors tensors() const {
    Range range = store.range();
    auto part = [&](int64_t i) { return trained.view(i * 256, {range.size()}, DType::f32); };
    return {range, part(0), part(1), part(2), frozen.view(0, {store.frozen_range().size()}, DType::f32)};
  }
  ParameterStore store;
  Buffer trained, frozen;
  RunState state;
};

TEST(Checkpoint, WhatIsFrozenIsInTheWeightsAndHasNoMoments) {
  TempFolder folder;
  HalfFrozen saved(1), loaded(100);
  Path path = save_checkpoint(folder.path(), 1, saved.state, saved.store, values_in(saved.store, saved.tensors()), {});
  auto names = [&](const char* file) {
    SafetensorsFile tensors(path / file);
    std::vector<std::string> found;
    for (const auto& tensor : tensors.tensors()) found.push_back(tensor.name);
    return found;
  };
  EXPECT_THAT(names("weights.safetensors"), testing::UnorderedElementsAre("tower.weight", "head.weight"));
  EXPECT_THAT(names("adam_m.safetensors"), ElementsAre("head.weight"));
  EXPECT_THAT(names("adam_v.safetensors"), ElementsAre("head.weight"));
  load_checkpoint(path, loaded.store, loaded.tensors());
  EXPECT_EQ(std::memcmp(saved.frozen.data(), loaded.frozen.data(), 15 * sizeof(float)), 0);
  EXPECT_EQ(std::memcmp(saved.tensors().master.data, loaded.tensors().master.data, 7 * sizeof(float)), 0);
}

TEST(Checkpoint, KeepsTheLastOnesAndTheBest) {
  TempFolder folder;
  save(folder.path(), 1, loss_of(0.5));
  save(folder.path(), 2);
  save(folder.path(), 3, loss_of(0.5));  // no better
  save(folder.path(), 4);
  EXPECT_THAT(names_in(folder.path()), ElementsAre("best", "step-00000001", "step-00000003", "step-00000004"));
  EXPECT_THAT(best_checkpoints(folder.path()), ElementsAre(folder / "step-00000001"));
  save(folder.path(), 5, loss_of(0.25), {.last = 1});
  EXPECT_THAT(names_in(folder.path()), ElementsAre("best", "step-00000005"));
  save(folder.path(), 100'000'000, {}, {.last = 1});
  EXPECT_EQ(find_latest_checkpoint(folder.path())->step, 100'000'000);
  write_bytes(folder / "best", "../../etc");
  EXPECT_TRUE(best_checkpoints(folder.path()).empty());
}

TEST(Checkpoint, KeepsTheBestOnesByTheirScores) {
  TempFolder folder;
  const Retention keep{.last = 1, .best = 2};
  auto accuracy = [](double value) { return Score{value, false, "an accuracy"}; };
  for (auto [step, value] : {std::pair{1, 0.5}, {2, 0.75}, {3, 0.25}, {4, 0.75}, {5, 0.125}})
    save(folder.path(), uint64_t(step), accuracy(value), keep);
  EXPECT_THAT(names_in(folder.path()), ElementsAre("best", "step-00000002", "step-00000004", "step-00000005"));
  EXPECT_THAT(best_checkpoints(folder.path()), ElementsAre(folder / "step-00000002", folder / "step-00000004"));
  EXPECT_THAT(read_bytes(folder / "best"), HasSubstr("step-00000002 0.75 an accuracy\n"));
  save(folder.path(), 6, loss_of(3), keep);  // another metric: the others cannot be compared with it
  EXPECT_THAT(names_in(folder.path()), ElementsAre("best", "step-00000006"));
  for (uint64_t step : {7, 8, 9}) save(folder.path(), step, {}, {.last = 0});
  EXPECT_EQ(names_in(folder.path()).size(), 5u) << "all are kept";
}

TEST(Checkpoint, ReplacesTheSameStepAndSetsLaterOnesAside) {
  Log log;
  TempFolder folder;
  for (uint64_t step : {10, 20, 30}) save(folder.path(), step, {}, {.last = 3});
  write_bytes(folder / "step-00000020" / "stray", "x");  // must not keep the run from saving
  save(folder.path(), 20, {}, {.last = 3});
  EXPECT_THAT(names_in(folder.path()), ElementsAre("abandoned-step-00000030", "step-00000010", "step-00000020"));
  EXPECT_THAT(log.text, HasSubstr("set aside as abandoned-step-00000030"));
  EXPECT_EQ(names_in(folder / "step-00000020").size(), 5u);
  EXPECT_EQ(find_latest_checkpoint(folder.path())->step, 20);
}

// Every bit of every file counts, and every length.
TEST(Checkpoint, DamageIsFoundAndThePreviousOneTaken) {
  TempFolder folder;
  save(folder.path(), 1);
  Path newest = save(folder.path(), 2);
  RandomSequence random(11, Draw::scene);
  std::vector<std::string> files = names_in(newest);
  for (int i = 0; i < 200; ++i) {
    std::string file = files[size_t(i) % files.size()], good = read_bytes(newest / file), bad = good;
    size_t at = random.below(bad.size());
    if (i % 2)
      bad.resize(at);
    else
      bad[at] = char(bad[at] ^ 1 << random.below(8));
    write_bytes(newest / file, bad);
    Log log;
    auto found = find_latest_checkpoint(folder.path());
    ASSERT_TRUE(found) << file << " at " << at;
    EXPECT_EQ(found->step, 1) << file << " at " << at;
    EXPECT_THAT(log.text, AllOf(HasSubstr("checkpoint of step 2 is damaged"), HasSubstr(file)));
    write_bytes(newest / file, good);
  }
  EXPECT_EQ(find_latest_checkpoint(folder.path())->step, 2);
}

TEST(Checkpoint, WhenAllAreDamagedTheRunDoesNotBeginAnewInSilence) {
  Log log;
  TempFolder folder;
  EXPECT_FALSE(find_latest_checkpoint(folder / "absent"));
  EXPECT_FALSE(find_latest_checkpoint(folder.path()));
  fs::remove(save(folder.path(), 1) / "adam_v.safetensors");
  fs::remove(save(folder.path(), 2) / "manifest.json");
  EXPECT_THAT(message_of([&] { find_latest_checkpoint(folder.path()); }), HasSubstr("all 2 checkpoints are damaged"));
  EXPECT_THAT(log.text, AllOf(HasSubstr("adam_v.safetensors: there is no such file"),
                              HasSubstr("manifest.json: there is no such file")));
}

// Runs f in a process of its own; its exit code, or minus the signal that ended it.
template <class F>
int in_child(F&& f) {
  pid_t child = ::fork();
  if (child == 0) {
    int code = 2;
    try {
      code = f();
    } catch (const std::exception& e) {
      std::fprintf(stderr, "%s\n", e.what());
    }
    ::_exit(code);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

// kill -9 while a checkpoint is written, at many points: what was saved before is found, and the next save tidies up.
TEST(Checkpoint, SurvivesAKillAtAnyPoint) {
  TempFolder folder;
  save(folder.path(), 1);
  for (int delay = 0; delay < 20; ++delay) {
    pid_t child = ::fork();
    if (child == 0) {
      try {
        for (int64_t step = find_latest_checkpoint(folder.path())->step;;) save(folder.path(), uint64_t(++step));
      } catch (...) {
        ::_exit(1);
      }
    }
    ::usleep(useconds_t(500 + 700 * delay));
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    Log log;
    auto found = find_latest_checkpoint(folder.path());
    ASSERT_TRUE(found);
    EXPECT_EQ(log.text, "") << "the newest name is always a whole checkpoint";
    Rig expected(uint64_t(found->step)), loaded(0);
    load_checkpoint(found->path, loaded.store, loaded.tensors());
    EXPECT_TRUE(loaded == expected);
  }
  int64_t next = find_latest_checkpoint(folder.path())->step + 1;
  save(folder.path(), uint64_t(next));
  for (const std::string& name : names_in(folder.path())) EXPECT_TRUE(name.starts_with("step-")) << name;
}

TEST(Checkpoint, AHalfWrittenFolderIsNotLookedAt) {
  TempFolder folder;
  Path whole = save(folder.path(), 3);
  fs::copy(whole, folder / ".step-00000009.tmp-1");
  fs::copy(whole, folder / "step-9");
  fs::copy(whole, folder / "step-00000009x");
  EXPECT_EQ(find_latest_checkpoint(folder.path())->step, 3);
  save(folder.path(), 4);
  EXPECT_FALSE(fs::exists(folder / ".step-00000009.tmp-1"));
}

// Files may not grow beyond a limit: every save fails half-way.
TEST(Checkpoint, AFailedWriteLeavesThePreviousOneAlone) {
  TempFolder folder;
  save(folder.path(), 1);
  for (rlim_t limit : {0, 100, 700, 1000}) {
    int code = in_child([&] {
      ::signal(SIGXFSZ, SIG_IGN);
      rlimit small{limit, limit};
      ::setrlimit(RLIMIT_FSIZE, &small);
      std::string message = message_of([&] { save(folder.path(), 2); }, Exit::crash);
      return message.find("cannot be written: File too large") != message.npos ? 0 : 1;
    });
    EXPECT_EQ(code, 0) << limit;
    EXPECT_THAT(names_in(folder.path()), ElementsAre("step-00000001"));
    EXPECT_EQ(find_latest_checkpoint(folder.path())->step, 1);
  }
}

// A real full disk: a small file system of its own, where the system lets a process mount one.
TEST(Checkpoint, AFullDiskIsSaidAndCostsNothingSavedBefore) {
  TempFolder folder;
  constexpr int kNotAllowed = 77;
  int code = in_child([&] {
    int spaces = ::geteuid() == 0 ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER;
    if (::unshare(spaces) || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) ||
        ::mount("none", folder.path().c_str(), "tmpfs", 0, "size=256k"))
      return kNotAllowed;
    save(folder.path(), 1);
    auto free = fs::space(folder.path()).available;
    write_bytes(folder / "filler", std::string(free - 8192, 'x'));
    std::string message = message_of([&] { save(folder.path(), 2); }, Exit::crash);
    EXPECT_THAT(message, AllOf(HasSubstr(".safetensors: cannot be written: the disk is full"), HasSubstr("make room")));
    EXPECT_THAT(names_in(folder.path()), ElementsAre("filler", "step-00000001"));
    EXPECT_EQ(find_latest_checkpoint(folder.path())->step, 1);
    fs::remove(folder / "filler");
    save(folder.path(), 2);
    EXPECT_EQ(find_latest_checkpoint(folder.path())->step, 2);
    return testing::Test::HasFailure() ? 1 : 0;
  });
  if (code == kNotAllowed) GTEST_SKIP() << "this system lets no process mount a file system of its own";
  EXPECT_EQ(code, 0);
}

TEST(RunState, KeepsBitsAndTypes) {
  RunState s;
  s.set("step", int64_t(-9007199254740993)), s.set("loss", 0.1 + 0.2), s.set("whole", 3.0), s.set("tiny", 5e-324);
  s.set("text", "a \"b\"\n\xc3\xa9");
  RunState read = RunState::parse(s.json(), "state.json");
  EXPECT_EQ(read, s);
  EXPECT_EQ(read.number("whole"), 3.0);
  EXPECT_THAT(message_of([&] { read.integer("whole"); }), HasSubstr("'whole'"));
  EXPECT_THAT(message_of([&] { read.text("absent"); }), HasSubstr("lacks 'absent'"));
  EXPECT_THAT(message_of([&] { RunState::parse("{\"a\":[1]}", "state.json"); }), HasSubstr("state.json: a: expected"));
}

}  // namespace
}  // namespace viaduct
