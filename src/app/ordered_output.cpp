#include "app/ordered_output.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "core/base/check.hpp"
#include "core/base/files.hpp"

namespace viaduct::app {
namespace {

[[noreturn]] void fail_write(const std::string& path) {
  fail_input(fmt::format("cannot write {}: {}", path, std::strerror(errno)));
}

}  // namespace

void make_place_for(const std::string& path) {
  if (std::filesystem::is_directory(path)) fail_config(fmt::format("{} is a folder; name the file to write", path));
  Path folder = Path(path).parent_path();
  if (!folder.empty()) make_folders(folder);
}

OrderedOutput::OrderedOutput(const std::string& path, Communicator& comm) : path_(path), comm_(comm) {
  if (comm.rank() != 0) return;
  make_place_for(path);
  for (int rank = 0; rank < comm.size(); ++rank) {
    std::string name = fmt::format("{}.part{}.{}", path, rank, ::getpid());
    std::FILE* file = std::fopen(name.c_str(), "w+e");
    if (!file) fail_write(name);
    parts_.emplace_back(file);
    ::unlink(name.c_str());
  }
}

bool OrderedOutput::exchange(const std::string& lines, bool more) {
  bool any = false;
  auto all = comm_.all_gather_text((more ? '+' : '.') + lines);
  for (size_t rank = 0; rank < all.size(); ++rank) {
    any |= all[rank].front() == '+';
    if (parts_.empty()) continue;
    std::FILE* part = parts_[rank].get();
    if (std::fwrite(all[rank].data() + 1, 1, all[rank].size() - 1, part) != all[rank].size() - 1) fail_write(path_);
  }
  return any;
}

void OrderedOutput::finish() {
  if (!parts_.empty()) {
    std::string whole = fmt::format("{}.new.{}", path_, ::getpid()), chunk(1 << 20, '\0');
    FileWriter writer(whole);
    for (auto& part : parts_) {
      // What the disk refuses shows when the buffer is written; rewind() would forget it.
      if (std::fflush(part.get()) != 0 || std::fseek(part.get(), 0, SEEK_SET) != 0) fail_write(path_);
      while (size_t n = std::fread(chunk.data(), 1, chunk.size(), part.get())) writer.append(chunk.data(), int64_t(n));
      if (std::ferror(part.get())) fail_write(path_);
    }
    writer.finish();
    std::filesystem::rename(whole, path_);
  }
  comm_.barrier();
}

}  // namespace viaduct::app
