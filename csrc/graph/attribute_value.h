// The value of an attribute, which is text in a graph.
#ifndef GLUON_RESNET_ATTRIBUTE_VALUE_H_
#define GLUON_RESNET_ATTRIBUTE_VALUE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graph/operator_table.h"

namespace gluon_resnet {

// The numbers of a tuple, "(1, 2)", "[1,2]" or "3"; None is kNone. nullopt if it is not a tuple.
constexpr int64_t kNone = INT64_MIN;
std::optional<std::vector<int64_t>> parse_tuple(std::string_view text);

// The value as MXNet itself would write it; empty if it means nothing: None, or an attribute that
// does not affect predictions. Throws Error(kModel), "expected ..., found ...".
std::string checked_value(const Attribute& attribute, const std::string& text);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_ATTRIBUTE_VALUE_H_
