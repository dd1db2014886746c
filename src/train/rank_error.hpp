// A failure that all ranks have found to be one rank's.
#pragma once
#include "core/base/check.hpp"

namespace viaduct {

class RankError : public Error {
 public:
  RankError(int rank, Exit code, std::string message, std::source_location where = std::source_location::current())
      : Error(code, std::move(message), where), rank_(rank) {}
  int rank() const { return rank_; }  // -1: it could not be told whose

 private:
  int rank_;
};

}  // namespace viaduct
