// A small vocabulary for texts of known words, so that text models can be tried without a download.
#pragma once
#include <map>
#include <string>
#include <vector>

namespace viaduct {

// vocab.json, merges.txt and tokenizer_config.json (name -> text) of a RoBERTa tokenizer to which each of the words is
// one token, both at the beginning of a text and after a blank. A word is what the tokenizer takes for one: letters, or
// digits, or other signs, but no blank. Every other text has tokens too, in the worst case one a byte.
std::map<std::string, std::string> word_vocabulary(const std::vector<std::string>& words);

}  // namespace viaduct
