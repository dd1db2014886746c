#include "core/ops/text.hpp"

#include "core/ops/cpu/text.hpp"
#include "core/ops/cuda/text.hpp"
#include "core/ops/dispatch.hpp"
#include "core/ops/operand_check.hpp"

namespace viaduct::ops {
namespace {

void check_table(const OperandCheck& check, const char* operand, const Tensor& table, int64_t columns, DType dtype) {
  check.that(table.shape.rank == 2 && table.shape[0] > 0, "a table of embeddings is [rows, C]", table);
  check(operand, table, {table.shape[0], columns}, dtype);
}

void check_ids(const OperandCheck& check, const Tensor& ids, const Tensor& rows) {
  check.that(ids.shape.rank == 2, "ids are [B, T]", ids);
  check("ids", ids, ids.shape, DType::i32);
  check("the embedded tokens", rows, {ids.shape[0], ids.shape[1], rows.shape.last()}, rows.dtype);
}

}  // namespace

void embed_text(Ctx& ctx, Tensor y, Tensor ids, const TextTables& tables, int32_t pad) {
  OperandCheck check{ctx, "embed_text"};
  check_ids(check, ids, y);
  check_table(check, "words", tables.words, y.shape.last(), y.dtype);
  check_table(check, "positions", tables.positions, y.shape.last(), y.dtype);
  check_table(check, "types", tables.types, y.shape.last(), y.dtype);
  run_on_device(
      ctx, [&] { cpu::embed_text(y, ids, tables, pad); }, [&] { cuda::embed_text(ctx, y, ids, tables, pad); });
}

void embed_text_backward(Ctx& ctx, const TextTables& grads, Tensor dy, Tensor ids, int32_t pad) {
  OperandCheck check{ctx, "embed_text_backward"};
  check_ids(check, ids, dy);
  for (auto [name, table] :
       {std::pair{"dwords", grads.words}, {"dpositions", grads.positions}, {"dtypes", grads.types}})
    if (table) check_table(check, name, table, dy.shape.last(), stat_dtype(dy.dtype));
  run_or_plan(
      ctx,
      [&] {
        if (!ctx.device().is_meta()) cpu::embed_text_backward(grads, dy, ids, pad);
      },
      [&] { cuda::embed_text_backward(ctx, grads, dy, ids, pad); });
}

}  // namespace viaduct::ops
