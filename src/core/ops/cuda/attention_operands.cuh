// What the kernels of attention are given, and what they have in common: heads inside projections, masked keys, dropout.
#pragma once
#include <cmath>

#include "core/base/philox.hpp"
#include "core/ops/cuda/attention.hpp"
#include "core/ops/cuda/kernel.cuh"

namespace viaduct::ops::cuda {

struct HeadIndex {
  int sample, head;
};

// One head of one sample: some columns of the rows of a projection.
template <class T>
struct HeadRows {
  T* data;
  int64_t stride;
  int rows;
  bool packs;  // its rows are whole packs of 16 bytes
  __device__ T* row(int i) const { return data + i * stride; }
};

// A projection [B, rows, stride], from the first column of head 0 on.
template <class T>
struct Projection {
  T* data = nullptr;
  int64_t stride = 0;
  int rows = 0;
  bool packs = false;  // of every head, where the head dimension is a whole number of packs
  Projection() = default;
  Projection(const Heads& h)
      : data(ptr<T>(h.rows) + h.column),
        stride(h.rows.shape[2]),
        rows(int(h.rows.shape[1])),
        packs(cuda::packs(data, stride, sizeof(T))) {}
  __device__ HeadRows<T> head(HeadIndex at, int dim) const {
    return {data + int64_t(at.sample) * rows * stride + at.head * dim, stride, rows, packs};
  }
};

template <class T>
struct AttentionOperands {
  Projection<T> q, k, v, out, dout, dq, dk, dv;
  float* lse = nullptr;
  const int32_t* key_mask = nullptr;
  int64_t heads_in_all;  // of all samples
  int heads, dim;
  float scale;
  const int64_t* sample_keys = nullptr;  // absent: no dropout
  uint32_t dropped = 0, op;              // random bits below `dropped` drop a probability: uniform(bits) < p
  float keep = 1;                        // 1 / (1 - p)

  AttentionOperands(const Ctx& ctx, const AttentionArgs& a, Tensor out_rows, Tensor lse_rows)
      : q(a.q),
        k(a.k),
        v(a.v),
        out(Heads{out_rows}),
        lse(ptr<float>(lse_rows)),
        key_mask(ptr<int32_t>(a.key_mask)),
        heads_in_all(a.q.rows.shape[0] * a.heads),
        heads(int(a.heads)),
        dim(int(a.head_dim)),
        scale(float(a.scale)),
        op(a.op) {
    expect(a.scale > 0, "attention needs a positive scale");
    if (!ctx.training || a.dropout <= 0) return;
    sample_keys = ptr<int64_t>(ctx.sample_keys);
    dropped = uint32_t(std::ceil(double(a.dropout) * 0x1p24)) << 8;
    keep = 1 / (1 - a.dropout);
  }
  void set_gradients(const AttentionGrads& g, Tensor dout_rows) {
    dout = Heads{dout_rows}, dq = g.dq, dk = g.dk, dv = g.dv;
  }

  __device__ int64_t statistic(HeadIndex at, int query) const {  // its place in lse
    return (int64_t(at.sample) * heads + at.head) * q.rows + query;
  }
  __device__ HeadIndex head_of(int64_t index) const { return {int(index / heads), int(index % heads)}; }
  __device__ bool attends(HeadIndex at, int key) const {
    return key < k.rows && (!key_mask || key_mask[int64_t(at.sample) * k.rows + key]);
  }
};

// Dropout of the probabilities of one head: element (head, query, key) of a sample.
struct DropoutMask {
  uint64_t key = 0, counter_high, first;
  uint32_t dropped;
  int keys;
  template <class T>
  __device__ DropoutMask(const AttentionOperands<T>& o, HeadIndex at)
      : key(o.sample_keys ? uint64_t(o.sample_keys[at.sample]) : 0),
        counter_high(uint64_t(Draw::dropout) << 32 | o.op),
        first(uint64_t(at.head) * uint64_t(o.q.rows) * uint64_t(o.k.rows)),
        dropped(o.dropped),
        keys(o.k.rows) {}
  __device__ uint64_t element(int query, int j) const { return first + uint64_t(query) * uint64_t(keys) + uint64_t(j); }

  __device__ bool keeps(int query, int j) const {
    const uint64_t e = element(query, j);
    const Philox random = philox(key, e / 4, counter_high);
    const uint32_t even = e & 2 ? random.v[2] : random.v[0], odd = e & 2 ? random.v[3] : random.v[1];
    return (e & 1 ? odd : even) >= dropped;
  }
  // For a tile of 16 queries and 16 keys, by a whole warp: bit c of lane l says whether (query + l % 16, j + c) is
  // kept. 16 elements of a row lie in at most five calls of Philox, of which each half of the warp makes its share.
  __device__ uint32_t keeps_tile(int query, int j) const {
    const int lane = int(threadIdx.x) % kWarp, half = lane / 16;
    const uint64_t e = element(query + lane % 16, j);
    uint32_t bits = 0;
    for (int call = 3 * half; call < 3 + 2 * half; ++call) {
      Philox random = philox(key, e / 4 + uint64_t(call), counter_high);
      for (int w = 0; w < 4; ++w) bits |= uint32_t(random.v[w] >= dropped) << (4 * call + w);
    }
    bits |= __shfl_xor_sync(kAllLanes, bits, 16);
    return bits >> (e % 4);
  }
};

}  // namespace viaduct::ops::cuda
