// tokenizer.json, the format of the tokenizers library: everything in one file, and many kinds of tokenizers. Only
// RoBERTa's is read; a part that would tokenize differently is refused by its name.
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "core/base/check.hpp"
#include "data/tokenizer_files.hpp"

namespace viaduct {
namespace {

using nlohmann::json;

std::string dump(const json& value) { return shown(value.dump(-1, ' ', true, json::error_handler_t::replace)); }

const json& part(const json& object, const char* key, const std::string& where) {
  static const json nothing;
  auto found = object.find(key);
  if (found == object.end() || found->is_null()) return nothing;
  if (!found->is_object()) fail_input(fmt::format("{}: {}: expected an object, found {}", where, key, dump(*found)));
  return *found;
}

const json& part_of_type(const json& object, const char* key, const char* type, const std::string& where) {
  const json& p = part(object, key, where);
  std::string found = p.is_null() ? "none" : json_value<std::string>(p, "type", "none", where + ": " + key);
  if (found != type) fail_input(fmt::format("{}: {}: expected {}, found {}", where, key, type, shown(found)));
  return p;
}

// Settings of the model that must be off: absent, null, false or "".
void refuse_settings(const json& model, const std::string& where) {
  for (const char* key :
       {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges"}) {
    auto found = model.find(key);
    bool off = found == model.end() || found->is_null() || *found == false || *found == "" || *found == 0.0;
    if (!off) fail_input(fmt::format("{}: {}: expected none, found {}: not supported", where, key, dump(*found)));
  }
}

void read_model(const json& model, const std::string& where, TokenizerFiles& files) {
  refuse_settings(model, where);
  auto vocabulary = model.find("vocab"), merges = model.find("merges");
  if (vocabulary == model.end() || !vocabulary->is_object())
    fail_input(fmt::format("{}: expected an object \"vocab\"", where));
  if (merges == model.end() || !merges->is_array()) fail_input(fmt::format("{}: expected a list \"merges\"", where));
  read_vocabulary(*vocabulary, where + ": vocab", files);
  int64_t number = 0;
  for (const json& merge : *merges) {
    std::string place = fmt::format("{}: merges[{}]", where, number++);
    std::string left, right;
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      left = merge[0], right = merge[1];
    } else if (merge.is_string()) {
      std::string text = merge;
      size_t blank = text.find(' ');
      if (blank != text.npos && text.find(' ', blank + 1) == text.npos)
        left = text.substr(0, blank), right = text.substr(blank + 1);
    }
    if (left.empty() || right.empty())
      fail_input(fmt::format("{}: expected two symbols, found {}", place, dump(merge)));
    add_merge(left, right, place, files);
  }
  std::string unknown = json_value<std::string>(model, "unk_token", "", where);
  if (unknown.empty()) return;
  auto found = files.vocabulary.find(unknown);
  if (found == files.vocabulary.end())
    fail_input(fmt::format("{}: unk_token {} is not in the vocabulary", where, shown(unknown)));
  files.unknown = found->second;
}

void read_added(const json& document, const std::string& where, TokenizerFiles& files) {
  auto added = document.find("added_tokens");
  if (added == document.end() || !added->is_array())
    fail_input(fmt::format("{}: expected a list \"added_tokens\"", where));
  json as_vocabulary = json::object();
  std::unordered_set<std::string> seen;
  for (const json& object : *added) {
    std::string place = fmt::format("{}: added_tokens[{}]", where, files.added.size());
    AddedToken token = read_added_token(object, place);
    if (!seen.insert(token.text).second)
      fail_input(fmt::format("{}: {} is there already; expected each added token once", place, shown(token.text)));
    int64_t id = json_value<int64_t>(object, "id", -1, place);
    auto known = files.vocabulary.find(token.text);
    if (known != files.vocabulary.end() && known->second != id)
      fail_input(
          fmt::format("{}: {} has id {} here and {} in the vocabulary", place, shown(token.text), id, known->second));
    if (known == files.vocabulary.end()) as_vocabulary[token.text] = object.value("id", json());
    token.id = int32_t(id);
    files.added.push_back(std::move(token));
  }
  if (!as_vocabulary.empty()) read_vocabulary(as_vocabulary, where + ": added_tokens", files);
}

}  // namespace

AddedToken read_added_token(const json& object, const std::string& where) {
  if (!object.is_object()) fail_input(fmt::format("{}: expected an object, found {}", where, dump(object)));
  AddedToken token;
  token.text = json_value<std::string>(object, "content", "", where);
  if (token.text.empty()) fail_input(fmt::format("{}: expected a \"content\" that is not empty", where));
  if (json_value<bool>(object, "single_word", false, where))
    fail_input(fmt::format("{}: single_word: expected false; true is not supported", where));
  token.strips_left = json_value<bool>(object, "lstrip", false, where);
  token.strips_right = json_value<bool>(object, "rstrip", false, where);
  token.normalized = json_value<bool>(object, "normalized", true, where);
  token.special = json_value<bool>(object, "special", true, where);
  return token;
}

void read_tokenizer_json(const json& document, const std::string& where, TokenizerFiles& files) {
  if (const json& normalizer = part(document, "normalizer", where); !normalizer.is_null())
    fail_input(fmt::format("{}: normalizer: expected none, found {}", where, dump(normalizer)));
  const json& cut = part_of_type(document, "pre_tokenizer", "ByteLevel", where);
  if (json_value<bool>(cut, "add_prefix_space", true, where) || !json_value<bool>(cut, "use_regex", true, where))
    fail_input(fmt::format("{}: pre_tokenizer: expected add_prefix_space false and use_regex true, found {}", where,
                           dump(cut)));
  const json& frame = part_of_type(document, "post_processor", "RobertaProcessing", where);
  const json& model = part(document, "model", where);
  std::string type = json_value<std::string>(model, "type", "BPE", where + ": model");  // old files do not say it
  if (type != "BPE") fail_input(fmt::format("{}: model: expected BPE, found {}", where, shown(type)));
  read_model(model, where + ": model", files);
  read_added(document, where, files);
  for (auto [key, text] : {std::pair{"cls", "<s>"}, std::pair{"sep", "</s>"}}) {
    auto id = files.vocabulary.find(text);
    if (id == files.vocabulary.end()) continue;  // the tokenizer says which is missing
    if (!frame.contains(key) || frame.at(key) != json{text, id->second})
      fail_input(fmt::format("{}: post_processor: {}: expected [\"{}\", {}], found {}", where, key, text, id->second,
                             frame.contains(key) ? dump(frame.at(key)) : "none"));
  }
}

}  // namespace viaduct
