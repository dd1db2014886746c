// Files: bounded reads, and writes that are either whole and on the disk or not there at all.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "core/base/hash.hpp"

namespace viaduct {

using Path = std::filesystem::path;

// A regular file opened for reading. Positioned reads only, never mapped: others may write to it meanwhile.
class FileReader {
 public:
  explicit FileReader(const Path&);
  FileReader(FileReader&& o) noexcept;
  ~FileReader();

  const Path& path() const { return path_; }
  int64_t size() const { return size_; }                      // when it was opened
  void read(int64_t offset, void* out, int64_t bytes) const;  // all of them, or an error

 private:
  Path path_;
  int fd_ = -1;
  int64_t size_ = 0;
};

std::string read_file(const Path&, int64_t limit);

struct FileDigest {
  int64_t bytes = 0;
  std::string xxh3;
  bool operator==(const FileDigest&) const = default;
};
FileDigest digest_file(const Path&);

// A new file, hashed on the way. finish() puts it on the disk; without it the destructor removes what was written.
class FileWriter {
 public:
  explicit FileWriter(const Path&);
  FileWriter(FileWriter&&) = delete;
  ~FileWriter();

  void append(const void* data, int64_t bytes);
  void append(std::string_view text) { append(text.data(), int64_t(text.size())); }
  FileDigest finish();

 private:
  Path path_;
  int fd_ = -1;
  int64_t bytes_ = 0;
  Hasher hasher_;
};

// Lines added at the end of a file that may be there already.
class FileAppender {
 public:
  explicit FileAppender(const Path&);
  FileAppender(FileAppender&&) = delete;
  ~FileAppender();
  void append(std::string_view text);
  void sync();  // to the disk

 private:
  Path path_;
  int fd_ = -1;
};

// A folder that appears under its final name whole or not at all: fill path(), then commit().
class StagedFolder {
 public:
  // Beside the destination: ".NAME.tmp-PID". What a killed process left for the same destination goes, because it has
  // one writer; an older version whose successor never came is put back.
  explicit StagedFolder(const Path& destination);
  StagedFolder(StagedFolder&&) = delete;
  ~StagedFolder();

  const Path& path() const { return staging_; }
  // The files inside must be finished. A folder already there is replaced: by default only if everything in it has a
  // successor, so that no file of the user's goes.
  enum class Replace { older_version, anything };
  void commit(Replace = Replace::older_version);
  // What killed processes left in a folder that one process writes to, whatever the destination.
  static void remove_leftovers(const Path& folder) { remove_leftovers(folder, "."); }

 private:
  static void remove_leftovers(const Path& folder, const std::string& prefix);
  void refuse_to_lose_files() const;
  Path destination_, staging_;
  bool committed_ = false;
};

// Replaces the file in one step: after a crash it holds the old text or the new, never a mixture.
void write_file_durable(const Path&, std::string_view text);
void sync_folder(const Path&);
void make_folders(const Path&);

}  // namespace viaduct
