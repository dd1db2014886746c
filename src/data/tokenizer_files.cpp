#include "data/tokenizer_files.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/base/check.hpp"
#include "data/tokenizer.hpp"
#include "data/tokenizer_text.hpp"

namespace viaduct {
namespace {

using nlohmann::json;
constexpr int64_t kLargestFile = 64 << 20;
constexpr int32_t kIdLimit = 1 << 24;  // tables are as long as the largest id
constexpr const char* kFiles[] = {
    "vocab.json",       "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json"};
constexpr std::pair<const char*, const char*> kRoles[] = {
    {"bos_token", "<s>"},   {"eos_token", "</s>"},  {"cls_token", "<s>"},    {"sep_token", "</s>"},
    {"pad_token", "<pad>"}, {"unk_token", "<unk>"}, {"mask_token", "<mask>"}};

bool is_there(const Path& file) {
  std::error_code ignored;
  return std::filesystem::exists(file, ignored);
}

// "#version" first, as transformers skips that line whatever it says; a line break last, as it skips what follows.
void read_merges(std::string_view text, const std::string& where, TokenizerFiles& files) {
  if (!text.starts_with("#version"))
    fail_input(
        fmt::format("{}:1: expected \"#version: 0.2\", found {}", where, shown(text.substr(0, text.find('\n')))));
  if (!text.ends_with('\n')) fail_input(fmt::format("{} ends in the middle of a line; is the file whole?", where));
  int64_t number = 0;
  while (!text.empty()) {
    size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    if (++number == 1) continue;
    if (line.ends_with('\r')) line.remove_suffix(1);
    size_t blank = line.find(' ');
    if (blank == 0 || blank >= line.size() - 1 || line.find(' ', blank + 1) != line.npos)
      fail_input(
          fmt::format("{}:{}: expected two symbols with a blank between them, found {}", where, number, shown(line)));
    add_merge(line.substr(0, blank), line.substr(blank + 1), fmt::format("{}:{}", where, number), files);
  }
}

// As transformers takes them when there is no tokenizer.json.
void add_usual_tokens(TokenizerFiles& files) {
  for (const char* text : {"<s>", "<pad>", "</s>", "<unk>", "<mask>"}) {
    auto found = files.vocabulary.find(text);
    if (found == files.vocabulary.end()) continue;  // the tokenizer says which is missing
    bool mask = found->first == "<mask>";
    files.added.push_back({.text = text, .id = found->second, .strips_left = mask, .normalized = !mask});
  }
}

AddedToken* find_added(TokenizerFiles& files, const std::string& text) {
  auto found =
      std::find_if(files.added.begin(), files.added.end(), [&](const AddedToken& t) { return t.text == text; });
  return found == files.added.end() ? nullptr : &*found;
}

void require_known(TokenizerFiles& files, const std::string& text, int64_t id, const std::string& where) {
  const AddedToken* known = find_added(files, text);
  if (known && known->id == id) return;
  fail_input(
      fmt::format("{}: {} with id {} is no added token of tokenizer.json, nor one of RoBERTa's five; save the "
                  "tokenizer with save_pretrained, so that tokenizer.json holds it",
                  where, shown(text), id));
}

// Special tokens that go by other names are another tokenizer. A token spelt as an object says how it takes blanks;
// without tokenizer.json transformers follows that.
void read_roles(const json& object, bool follow, const std::string& where, TokenizerFiles& files) {
  for (auto [role, usual] : kRoles) {
    auto found = object.find(role);
    if (found == object.end() || found->is_null()) continue;
    if (!found->is_object() && !found->is_string())
      fail_input(fmt::format("{}: {}: expected a text or an object, found {}", where, role, shown(found->dump())));
    AddedToken token;
    if (found->is_object())
      token = read_added_token(*found, fmt::format("{}: {}", where, role));
    else
      token.text = found->get<std::string>();
    if (token.text != usual)
      fail_input(fmt::format("{}: {}: expected {}, found {}: only RoBERTa's special tokens are known", where, role,
                             shown(usual), shown(token.text)));
    AddedToken* known = find_added(files, token.text);
    if (!follow || !known || !found->is_object()) continue;
    token.id = known->id;
    *known = token;
  }
}

void read_config(const json& config, bool whole, const std::string& where, TokenizerFiles& files) {
  std::string kind = json_value<std::string>(config, "tokenizer_class", "RobertaTokenizer", where);
  if (kind != "RobertaTokenizer" && kind != "RobertaTokenizerFast" && !(kind == "PreTrainedTokenizerFast" && whole))
    fail_input(fmt::format("{}: tokenizer_class: expected RobertaTokenizer, found {}", where, shown(kind)));
  if (json_value<bool>(config, "add_prefix_space", false, where))
    fail_input(fmt::format("{}: add_prefix_space: expected false; true is not supported", where));
  auto decoder = config.find("added_tokens_decoder");
  bool has_decoder = decoder != config.end() && decoder->is_object();
  read_roles(config, !whole && !has_decoder, where, files);
  if (!has_decoder) return;
  for (const auto& [id, object] : decoder->items()) {
    AddedToken token = read_added_token(object, fmt::format("{}: added_tokens_decoder: {}", where, shown(id)));
    int64_t number = -1;
    if (id.size() < 10 && id.find_first_not_of("0123456789") == id.npos && !id.empty()) number = std::stoll(id);
    require_known(files, token.text, number, where);
    token.id = int32_t(number);
    *find_added(files, token.text) = token;
  }
}

}  // namespace

std::string shown(std::string_view text) {
  std::string repaired, out;
  for (char c : valid_utf8(text.substr(0, 60), repaired)) out += uint8_t(c) < 0x20 || c == 0x7F ? '?' : c;
  return fmt::format("\"{}\"{}", out, text.size() > 60 ? "..." : "");
}

std::string default_tokenizer_config() {
  nlohmann::ordered_json config{{"tokenizer_class", "RobertaTokenizer"}, {"add_prefix_space", false}};
  for (auto [role, text] : kRoles) config[role] = text;
  config["model_max_length"] = 512;
  return config.dump(2) + "\n";
}

void read_vocabulary(const json& object, const std::string& where, TokenizerFiles& files) {
  std::unordered_map<int32_t, std::string_view> owner;
  for (const auto& [token, id] : files.vocabulary) owner.emplace(id, token);
  for (const auto& [token, id] : object.items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= uint64_t(kIdLimit))
      fail_input(fmt::format("{}: {}: expected an id from 0 to {}, found {}", where, shown(token), kIdLimit - 1,
                             shown(id.dump(-1, ' ', true, json::error_handler_t::replace))));
    auto [entry, added] = files.vocabulary.emplace(token, id.get<int32_t>());
    auto [first, is_first] = owner.emplace(entry->second, entry->first);
    if (!is_first)
      fail_input(
          fmt::format("{}: {} and {} both have id {}", where, shown(first->second), shown(token), entry->second));
  }
  if (files.vocabulary.empty()) fail_input(fmt::format("{}: the vocabulary is empty", where));
}

void add_merge(std::string_view left, std::string_view right, const std::string& where, TokenizerFiles& files) {
  auto id = [&](std::string token) {
    auto found = files.vocabulary.find(token);
    if (found == files.vocabulary.end())
      fail_input(fmt::format("{}: the merge of {} and {} needs {}, which is not in the vocabulary", where, shown(left),
                             shown(right), shown(token)));
    return found->second;
  };
  files.merges.push_back({id(std::string(left)), id(std::string(right)), id(std::string(left).append(right))});
}

TokenizerFiles read_tokenizer_files(const Path& folder) {
  TokenizerFiles files;
  if (!Tokenizer::is_in(folder))
    fail_input(fmt::format("{}: expected a tokenizer: vocab.json and merges.txt, or tokenizer.json", folder.string()));
  for (const char* name : kFiles)
    if (is_there(folder / name)) files.texts[name] = read_file(folder / name, kLargestFile);
  auto place = [&](const char* name) { return (folder / name).string(); };
  auto object = [&](const char* name) { return parse_json_object(files.texts.at(name), place(name)); };
  // transformers prefers it, too.
  bool whole = files.texts.contains("tokenizer.json");
  if (whole) {
    read_tokenizer_json(object("tokenizer.json"), place("tokenizer.json"), files);
  } else {
    read_vocabulary(object("vocab.json"), place("vocab.json"), files);
    read_merges(files.texts.at("merges.txt"), place("merges.txt"), files);
    add_usual_tokens(files);
  }
  json config = json::object();
  if (files.texts.contains("tokenizer_config.json")) config = object("tokenizer_config.json");
  if (files.texts.contains("special_tokens_map.json"))
    read_roles(object("special_tokens_map.json"), !whole && !config.contains("added_tokens_decoder"),
               place("special_tokens_map.json"), files);
  read_config(config, whole, place("tokenizer_config.json"), files);
  json old_list = json::object();
  if (files.texts.contains("added_tokens.json")) old_list = object("added_tokens.json");
  for (const auto& [text, id] : old_list.items())
    require_known(files, text, id.is_number_unsigned() ? id.get<int64_t>() : -1, place("added_tokens.json"));
  files.texts.emplace("tokenizer_config.json", default_tokenizer_config());
  return files;
}

}  // namespace viaduct
