// The known word that was probably meant.
#pragma once
#include <string>
#include <vector>

namespace viaduct {

// Insertions, deletions, substitutions and swaps of neighbours.
int edit_distance(const std::string& a, const std::string& b);
// The word of the smallest distance; empty when even that is above `limit`.
std::string nearest(const std::string& word, const std::vector<std::string>& known, int limit);

}  // namespace viaduct
