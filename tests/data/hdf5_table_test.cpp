// Tables in HDF5 files: what is written is read, and nothing that a file says is trusted.
#include "data/hdf5_table.hpp"

#include <gtest/gtest.h>

#include "tests/support/messages.hpp"
#include "tests/support/temp_folder.hpp"

namespace viaduct::test {
namespace {

struct Table {
  std::vector<float> values{1.5f, -2, 3, 4, 5, 6.25f};
  std::vector<int64_t> keys{7, -8, int64_t(1) << 60};
  Table(const Path& path) {
    write_hdf5(path, "what it holds\n",
               {{"values", {values.data(), {3, 2}, DType::f32, Device::cpu()}},
                {"keys", {keys.data(), {3, 1}, DType::i64, Device::cpu()}}});
  }
};
Tensor rows_of(std::vector<float>& v, int64_t width) {
  return {v.data(), {int64_t(v.size()) / width, width}, DType::f32, Device::cpu()};
}

TEST(Hdf5Table, GivesBackWhatWasWritten) {
  TempFolder folder;
  Table table(folder / "t.h5");
  Hdf5File file(folder / "t.h5");
  EXPECT_EQ(file.about(), "what it holds\n");
  EXPECT_EQ(file.rows("values"), 3);
  std::vector<float> two(4);
  file.read("values", {1, 3}, rows_of(two, 2));
  EXPECT_EQ(two, (std::vector<float>{3, 4, 5, 6.25f}));
  std::vector<int64_t> keys(3);
  file.read("keys", {0, 3}, {keys.data(), {3, 1}, DType::i64, Device::cpu()});
  EXPECT_EQ(keys, table.keys);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1) << "nothing is left beside it";
}

TEST(Hdf5Table, RefusesWhatIsNotThere) {
  TempFolder folder;
  Table table(folder / "t.h5");
  Hdf5File file(folder / "t.h5");
  std::vector<float> out(6);
  auto refusal = [&](auto&& f) { return message_of(f, Exit::input); };
  EXPECT_NE(refusal([&] { file.rows("none"); }).find("expected a column 'none' of rows"), std::string::npos);
  EXPECT_NE(refusal([&] {
              file.read("values", {0, 2}, rows_of(out, 3));
            }).find("expected rows of 3 fp32"),
            std::string::npos);
  EXPECT_NE(refusal([&] { file.read("values", {1, 4}, rows_of(out, 2)); }).find("column 'values'"), std::string::npos);
  EXPECT_NE(refusal([&] { file.read("keys", {0, 6}, rows_of(out, 1)); }).find("column 'keys'"), std::string::npos);
}

TEST(Hdf5Table, RefusesDamagedFiles) {
  TempFolder folder;
  Table table(folder / "t.h5");
  const std::string whole = read_bytes(folder / "t.h5");
  for (size_t kept : {size_t(0), size_t(10), whole.size() / 2, whole.size() - 1}) {
    write_bytes(folder / "cut.h5", whole.substr(0, kept));
    EXPECT_NE(message_of([&] { Hdf5File{folder / "cut.h5"}; }, Exit::input).find("expected a whole HDF5 file"),
              std::string::npos)
        << kept;
  }
}

}  // namespace
}  // namespace viaduct::test
