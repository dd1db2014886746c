#include "tests/comm/collectives.hpp"

#include <numeric>

#include "comm/grad_sync.hpp"
#include "comm/shards.hpp"
#include "tests/support/synced_step.hpp"
#include "tests/support/test_ctx.hpp"

namespace viaduct::test {
namespace {

// Small integers, exact in every dtype, also as sums over ranks.
int value(int rank, int64_t i) { return int((i * 7 + rank * 13) % 11); }

template <class T>
struct Numbers {
  explicit Numbers(int64_t n) : elements(size_t(n)) {}
  Tensor tensor() { return {elements.data(), {int64_t(elements.size())}, dtype_of<T>, Device::cpu()}; }
  std::vector<T> elements;
};

int reduced(Reduce op, int ranks, int64_t i) {
  int result = value(0, i);
  for (int r = 1; r < ranks; ++r) {
    int next = value(r, i);
    result = op == Reduce::sum ? result + next : op == Reduce::max ? std::max(result, next) : std::min(result, next);
  }
  return result;
}

template <class T>
void check_dtype(Communicator& comm, int64_t n) {
  Stream stream(Device::cpu());
  const int ranks = comm.size(), rank = comm.rank();
  auto same = [&](T found, int expected, const char* what) {
    if (found != T(float(expected)))
      fail(Exit::crash, fmt::format("{} of {} {} on rank {}: expected {}, found {}", what, n, name_of(dtype_of<T>),
                                    rank, expected, float(found)));
  };
  for (Reduce op : {Reduce::sum, Reduce::max, Reduce::min}) {
    Numbers<T> all(n);
    for (int64_t i = 0; i < n; ++i) all.elements[size_t(i)] = T(float(value(rank, i)));
    comm.all_reduce(all.tensor(), op, stream);
    for (int64_t i = 0; i < n; ++i) same(all.elements[size_t(i)], reduced(op, ranks, i), "all_reduce");

    Numbers<T> full(n * ranks), shard(n);
    for (int64_t i = 0; i < n * ranks; ++i) full.elements[size_t(i)] = T(float(value(rank, i)));
    comm.reduce_scatter(shard.tensor(), full.tensor(), op, stream);
    for (int64_t i = 0; i < n; ++i) same(shard.elements[size_t(i)], reduced(op, ranks, rank * n + i), "reduce_scatter");
  }
  Numbers<T> full(n * ranks), mine(n);
  for (int64_t i = 0; i < n; ++i) mine.elements[size_t(i)] = T(float(value(rank, i)));
  for (bool in_place : {false, true}) {
    full.elements.assign(full.elements.size(), T{});
    Tensor shard = in_place ? full.tensor().slice(rank * n, (rank + 1) * n) : mine.tensor();
    std::copy(mine.elements.begin(), mine.elements.end(), data<T>(shard));
    comm.all_gather(full.tensor(), shard, stream);
    for (int64_t i = 0; i < n * ranks; ++i) same(full.elements[size_t(i)], value(int(i / n), i % n), "all_gather");
  }
  // Parts of uneven size with gaps between, one of them empty; with a single rank there is nothing to exchange.
  std::vector<Range> parts;
  for (int64_t r = 0; r < ranks; ++r) parts.push_back({r * n + r % 2, r == 1 ? r * n + 1 : (r + 1) * n});
  Numbers<T> summed(n * ranks), gathered(n * ranks);
  for (int64_t i = 0; i < n * ranks; ++i)
    summed.elements[size_t(i)] = gathered.elements[size_t(i)] = T(float(value(rank, i)));
  comm.reduce_parts(summed.tensor(), parts, Reduce::sum, stream);
  comm.gather_parts(gathered.tensor(), parts, stream);
  for (int64_t r = 0; r < ranks; ++r)
    for (int64_t i = r * n; i < (r + 1) * n; ++i) {
      const bool inside = i >= parts[size_t(r)].begin && i < parts[size_t(r)].end;
      if (inside && r == rank) same(summed.elements[size_t(i)], reduced(Reduce::sum, ranks, i), "reduce_parts");
      if (r != rank) same(summed.elements[size_t(i)], value(rank, i), "what reduce_parts leaves");
      same(gathered.elements[size_t(i)], value(inside ? int(r) : rank, i), "gather_parts");
    }
  for (int root = 0; root < ranks; ++root) {
    Numbers<T> said(n);
    for (int64_t i = 0; i < n; ++i) said.elements[size_t(i)] = T(float(rank == root ? value(root, i) : 0));
    comm.broadcast(said.tensor(), root, stream);
    for (int64_t i = 0; i < n; ++i) same(said.elements[size_t(i)], value(root, i), "broadcast");
  }
}

void check_text(Communicator& comm) {
  auto text_of = [](int rank) {
    return rank % 3 == 1 ? std::string() : std::string(size_t(rank * 5000 + 3), char('a' + rank));
  };
  auto all = comm.all_gather_text(text_of(comm.rank()));
  expect(int(all.size()) == comm.size(), "all_gather_text gives one text a rank");
  for (int r = 0; r < comm.size(); ++r) expect(all[size_t(r)] == text_of(r), "all_gather_text keeps every text");
  expect(comm.broadcast_text(std::to_string(comm.rank()), comm.size() - 1) == std::to_string(comm.size() - 1),
         "broadcast_text");
}

// Memory from allocate() may take another path, also when only some ranks use it, or when it is new at an old address.
void check_allocated(Communicator& comm) {
  Stream stream(Device::cpu());
  const int64_t n = 5000;
  for (int round = 0; round < 6; ++round) {
    Buffer buffer = comm.allocate(Device::cpu(), 4 * n * 4);
    Numbers<float> elsewhere(n);
    // Every rank at another offset, sometimes one of them outside.
    Tensor t = buffer.view((comm.rank() + round) % 3 * n * 4, {n}, DType::f32);
    if (round % 2 && comm.rank() == round % comm.size()) t = elsewhere.tensor();
    for (Reduce op : {Reduce::sum, Reduce::max}) {
      float* numbers = data<float>(t);
      for (int64_t i = 0; i < n; ++i) numbers[i] = float(value(comm.rank(), i + round));
      comm.all_reduce(t, op, stream);
      for (int64_t i = 0; i < n; ++i)
        expect(numbers[i] == float(reduced(op, comm.size(), i + round)),
               fmt::format("all_reduce of allocated memory at {}", i));
    }
    const auto parts = make_shards({0, n}, comm.size());  // all of it is rank 0's
    float* numbers = data<float>(t);
    for (int64_t i = 0; i < n; ++i) numbers[i] = float(value(comm.rank(), i + round));
    comm.reduce_parts(t, parts, Reduce::sum, stream);
    comm.gather_parts(t, parts, stream);
    for (int64_t i = 0; i < n; ++i)
      expect(numbers[i] == float(reduced(Reduce::sum, comm.size(), i + round)),
             fmt::format("reduce_parts and gather_parts of allocated memory at {}", i));
  }
}

// Four blocks of uneven sizes, larger than a shard of three ranks.
void build(ParameterStore& store, Communicator& comm, const std::string& strategy) {
  for (int b = 0; b < 4; ++b)
    store.block("block" + std::to_string(b), [&] {
      store.add("weight" + std::to_string(b), {b * 300 + 7, 100});
      store.add("bias" + std::to_string(b), {5});
    });
  std::optional<Range> kept;
  if (divides_gradients(strategy)) kept = optimizer_range(strategy, store.range(), comm.rank(), comm.size());
  store.materialize(
      Device::cpu(), DType::f32, true, [&](Device d, int64_t bytes) { return comm.allocate(d, bytes); }, kept);
}

// The optimizer's part: every rank writes the values of its range, and all ranks have all of them when they need them.
void check_values(ParameterStore& store, GradSync& sync, Range mine, int step) {
  auto expected = [&](int64_t i) { return float(i + 1000 * step); };
  for (int64_t i = mine.begin; i < mine.end; ++i) data<float>(store.values())[i] = expected(i);
  sync.updated();
  auto check = [&](Range range) {
    for (int64_t i = range.begin; i < range.end; ++i)
      if (data<float>(store.values())[i] != expected(i)) fail(Exit::crash, fmt::format("value {} has not arrived", i));
  };
  for (Range block : store.blocks())
    if (step % 2) sync.need(block), check(block);
  sync.settle();
  check(store.range());
}

// `passes` of two losses each.
void check_step(Communicator& comm, const GradSyncOptions& options, int passes) {
  ParameterStore store;
  build(store, comm, options.strategy);
  auto sync = make_grad_sync(options, store, comm);
  SyncedStep synced(*sync);
  const int ranks = comm.size(), rank = comm.rank();
  const Range mine = optimizer_range(options.strategy, store.range(), rank, ranks);
  for (int step = 0; step < 3; ++step) {
    store.zero_gradients(host_stream());
    for (int pass = 0; pass < passes; ++pass) {
      synced.begin(pass == passes - 1, {.quarantined = rank, .stop = rank == 0});
      if (rank == ranks - 1 && ranks > 1) {  // has no samples
        for (Range block : store.blocks()) sync->part(block);
        report_all(store, *sync);
        continue;
      }
      Numbers<float> losses(3);
      losses.elements = {0.5f, 0.25f, float(rank)};
      sync->add_loss(losses.tensor(), 3);
      for (int loss : {0, 1})
        for (auto block = store.blocks().rbegin(); block != store.blocks().rend(); ++block) {
          float* gradients = data<float>(sync->open(*block));
          for (int64_t i = 0; i < block->size(); ++i)
            gradients[i] += float(value(rank, block->begin + i + step + loss));
          loss ? sync->ready(*block) : sync->part(*block);
        }
    }
    StepTail tail = synced.finish();
    const int active = ranks > 1 ? ranks - 1 : 1;
    expect(tail.terms == 3 * passes * active && tail.stop == 1 && tail.nonfinite == 0, "the tail counts");
    expect(tail.quarantined == ranks * (ranks - 1) / 2, "the counts of all ranks add up");
    expect(tail.loss_sum == passes * (0.75 * active + active * (active - 1) / 2), "the tail adds losses");
    double squares = 0;
    for (int64_t i = store.range().begin; i < store.range().end; ++i) {
      int sum = 0;
      for (int r = 0; r < active; ++r) sum += passes * (value(r, i + step) + value(r, i + step + 1));
      squares += double(sum) * sum;
      if (i < mine.begin || i >= mine.end) continue;
      const float found = data<float>(store.grads({i, i + 1}))[0];
      if (found != float(sum)) fail(Exit::crash, fmt::format("gradient {}: expected {}, found {}", i, sum, found));
    }
    expect(synced.squared_norm() == squares, "the norm is that of all ranks' gradients");
    check_values(store, *sync, mine, step);
  }
}

}  // namespace

void check_collectives(Communicator& comm) {
  for (int64_t n : {1, 3, 1000, 4161}) {
    check_dtype<float>(comm, n);
    check_dtype<bf16>(comm, n);
    check_dtype<double>(comm, n);
    check_dtype<int32_t>(comm, n);
    check_dtype<int64_t>(comm, n);
    check_dtype<uint8_t>(comm, n);
  }
  check_text(comm);
  check_allocated(comm);
  comm.barrier();
  auto other = comm.duplicate();
  expect(other->rank() == comm.rank() && other->size() == comm.size(), "a duplicate has the same ranks");
  check_dtype<float>(*other, 5);
}

void check_strategies(Communicator& comm) {
  for (int passes : {1, 3}) {
    for (double bucket_mb : {1e-6, 0.004, 0.4, 25.0})
      for (const char* strategy : {"ddp", "zero1", "zero2"}) check_step(comm, {strategy, bucket_mb}, passes);
    check_step(comm, {"fast_ddp"}, passes);
    for (DType wire : {DType::bf16, DType::i64})
      for (const char* strategy : {"ddp", "fast_ddp", "zero1", "zero2"})
        check_step(comm, {.strategy = strategy, .bucket_mb = 0.004, .wire = {.type = wire}}, passes);
  }
}

}  // namespace viaduct::test
