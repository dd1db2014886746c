// Lines of many ranks in one file, rank after rank, that appears whole or not at all. No folder has to be shared: the
// other ranks send their lines to rank 0, which keeps each rank's in a file of its own until all are there.
#pragma once
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.hpp"

namespace viaduct::app {

// The folder of a file that is written later; refuses the name of a folder.
void make_place_for(const std::string& path);

class OrderedOutput {
 public:
  OrderedOutput(const std::string& path, Communicator&);  // fails at once where the file cannot be written

  // Collective: every rank hands over what it has, and whether more will come. True while any rank has more.
  bool exchange(const std::string& lines, bool more);
  void finish();  // collective

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::string path_;
  Communicator& comm_;
  std::vector<std::unique_ptr<std::FILE, Close>> parts_;  // rank 0: nameless files beside the output
};

}  // namespace viaduct::app
