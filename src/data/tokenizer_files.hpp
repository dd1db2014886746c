// The files of a tokenizer, read and checked.
#pragma once
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/base/files.hpp"
#include "core/base/json.hpp"
#include "data/tokenizer_bpe.hpp"

namespace viaduct {

// A token that is found in the text before it is cut into words.
struct AddedToken {
  std::string text;
  int32_t id = 0;
  bool strips_left = false, strips_right = false;  // takes the white space beside it
  bool normalized = false;                         // tokenizers looks for these after the others
  bool special = true;
};

struct TokenizerFiles {
  std::map<std::string, std::string> texts;  // name -> what it holds
  std::unordered_map<std::string, int32_t> vocabulary;
  std::vector<BpeMerge> merges;
  std::vector<AddedToken> added;
  int32_t unknown = -1;  // for bytes without a token
};

TokenizerFiles read_tokenizer_files(const Path& folder);
std::string default_tokenizer_config();  // tokenizer_config.json for a RoBERTa tokenizer

// Parts of the reading, one for each format. `where` begins every message.
void read_vocabulary(const nlohmann::json& object, const std::string& where, TokenizerFiles&);
void add_merge(std::string_view left, std::string_view right, const std::string& where, TokenizerFiles&);
void read_tokenizer_json(const nlohmann::json&, const std::string& where, TokenizerFiles&);
AddedToken read_added_token(const nlohmann::json&, const std::string& where);
std::string shown(std::string_view text);  // for a message: short and printable

}  // namespace viaduct
