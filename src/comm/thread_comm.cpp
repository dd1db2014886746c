#include "comm/thread_comm.hpp"

#include <condition_variable>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>

#include "comm/direct_reduce.hpp"
#include "comm/self_comm.hpp"

namespace viaduct {
namespace {

// What one rank brings to a collective. The ranks compare theirs: a mismatch would hang or corrupt a real communicator.
struct Call {
  const char* name = "";
  Tensor in, out;
  int detail = 0;  // reduction or root
  const std::string* text = nullptr;
};

class Group {
 public:
  explicit Group(int size) : calls(size_t(size)), children_(size_t(size), 0), size_(size) {}

  void meet() {
    std::unique_lock lock(mutex_);
    throw_if_failed();
    if (++arrived_ == size_) {
      arrived_ = 0;
      ++generation_;
      everyone_.notify_all();
      return;
    }
    everyone_.wait(lock, [&, mine = generation_] { return generation_ != mine || failed_; });
    throw_if_failed();
  }

  void fail() {
    std::lock_guard lock(mutex_);
    failed_ = true;
    everyone_.notify_all();
    for (auto& group : duplicates_) group->fail();
  }

  // The n-th duplicate that each rank asks for is the same group.
  std::shared_ptr<Group> duplicate(int rank) {
    std::lock_guard lock(mutex_);
    size_t n = children_[size_t(rank)]++;
    if (n == duplicates_.size()) duplicates_.push_back(std::make_shared<Group>(size_));
    return duplicates_[n];
  }

  int size() const { return size_; }
  std::vector<Call> calls;

 private:
  void throw_if_failed() const { expect(!failed_, "another rank failed while this one was in a collective"); }

  std::vector<size_t> children_;
  std::vector<std::shared_ptr<Group>> duplicates_;
  std::mutex mutex_;
  std::condition_variable everyone_;
  int size_, arrived_ = 0;
  uint64_t generation_ = 0;
  bool failed_ = false;
};

class ThreadComm final : public Communicator {
 public:
  ThreadComm(std::shared_ptr<Group> group, int rank) : group_(std::move(group)), rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return group_->size(); }
  const char* name(Device) const override { return "threads"; }

  void all_reduce(Tensor t, Reduce op, Stream&) override {
    together({"all_reduce", t, t, int(op)}, [&](auto& calls) {
      std::vector<const void*> sources;
      std::vector<void*> targets;
      for (auto& call : calls) sources.push_back(call.in.data), targets.push_back(call.in.data);
      direct_reduce(sources, targets, t.dtype, op, reduce_part(t.numel(), rank_, size()));
    });
  }

  void reduce_scatter(Tensor shard, Tensor full, Reduce op, Stream&) override {
    expect(full.numel() == shard.numel() * size() && full.dtype == shard.dtype, "reduce_scatter: full = ranks x shard");
    together({"reduce_scatter", full, shard, int(op)}, [&](auto& calls) {
      std::vector<const void*> sources;
      for (auto& call : calls) sources.push_back(at(call.in, rank_ * shard.numel()));
      direct_reduce(sources, {shard.data}, shard.dtype, op, {0, shard.numel()});
    });
  }

  void all_gather(Tensor full, Tensor shard, Stream&) override {
    expect(full.numel() == shard.numel() * size() && full.dtype == shard.dtype, "all_gather: full = ranks x shard");
    together({"all_gather", shard, full}, [&](auto& calls) {
      for (int r = 0; r < size(); ++r) {
        void* to = at(full, r * shard.numel());
        if (to != calls[size_t(r)].in.data) std::memcpy(to, calls[size_t(r)].in.data, size_t(shard.bytes()));
      }
    });
  }

  void reduce_parts(Tensor t, const std::vector<Range>& parts, Reduce op, Stream&) override {
    together({"reduce_parts", t, t, int(op)}, [&](auto& calls) {
      std::vector<const void*> sources;
      for (auto& call : calls) sources.push_back(call.in.data);
      direct_reduce(sources, {t.data}, t.dtype, op, parts[size_t(rank_)]);
    });
  }

  void gather_parts(Tensor t, const std::vector<Range>& parts, Stream&) override {
    together({"gather_parts", t, t}, [&](auto& calls) {
      std::vector<const void*> sources;
      for (auto& call : calls) sources.push_back(call.in.data);
      direct_gather(t, sources, parts, rank_);
    });
  }

  void broadcast(Tensor t, int root, Stream&) override {
    expect(root >= 0 && root < size(), "the root of a broadcast is a rank");
    together({"broadcast", t, t, root}, [&](auto& calls) {
      if (rank_ != root) std::memcpy(t.data, calls[size_t(root)].in.data, size_t(t.bytes()));
    });
  }

  void barrier() override {
    together({"barrier"}, [](auto&) {});
  }

  std::vector<std::string> all_gather_text(const std::string& mine) override {
    std::vector<std::string> all;
    together({"all_gather_text", {}, {}, 0, &mine}, [&](auto& calls) {
      for (auto& call : calls) all.push_back(*call.text);
    });
    return all;
  }

  std::unique_ptr<Communicator> duplicate() override {
    return std::make_unique<ThreadComm>(group_->duplicate(rank_), rank_);
  }
  Buffer allocate(Device device, int64_t bytes) override { return allocate_for_peers(device, bytes); }

 private:
  template <class F>
  void together(const Call& mine, F&& work) {
    group_->calls[size_t(rank_)] = mine;
    group_->meet();
    for (const Call& other : group_->calls)
      expect(
          std::strcmp(other.name, mine.name) == 0 && other.in.numel() == mine.in.numel() &&
              other.in.dtype == mine.in.dtype && other.detail == mine.detail,
          fmt::format(
              "rank {} calls {} of {}, another rank calls {} of {}: every rank makes the same calls in the same order",
              rank_, mine.name, to_string(mine.in), other.name, to_string(other.in)));
    work(group_->calls);
    group_->meet();
  }

  static void* at(const Tensor& t, int64_t element) {
    return static_cast<std::byte*>(t.data) + element * size_of(t.dtype);
  }

  std::shared_ptr<Group> group_;
  int rank_;
};

}  // namespace

void run_ranks(int ranks, const std::function<void(Communicator&)>& body) {
  if (ranks == 1) {  // as in the program: its collectives are work of the stream
    SelfComm self;
    return body(self);
  }
  auto group = std::make_shared<Group>(ranks);
  std::exception_ptr first;
  std::mutex mutex;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      ThreadComm comm(group, rank);
      try {
        body(comm);
      } catch (...) {
        std::lock_guard lock(mutex);
        if (!first) first = std::current_exception();
        group->fail();
      }
    });
  for (auto& thread : threads) thread.join();
  if (first) std::rethrow_exception(first);
}

}  // namespace viaduct
