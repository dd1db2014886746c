// What a user is told: the message of an error, the lines of the log.
#pragma once
#include <gtest/gtest.h>

#include <string>

#include "core/base/check.hpp"
#include "core/base/log.hpp"

namespace viaduct::test {

template <class F>
std::string message_of(F&& f, Exit code = Exit::input) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code) << e.what();
    return e.what();
  }
  return "no error";
}

// Collects the log while it lives.
struct Log {
  Log() {
    log::set_sink([this](const std::string& line) { text += line + "\n"; });
  }
  ~Log() { log::set_sink({}); }
  std::string text;
};

}  // namespace viaduct::test
