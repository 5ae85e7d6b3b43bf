// The operators of image classification networks, and the values that their attributes may have.
//
// Within these bounds MXNet 1.9.1 either computes or reports what is wrong: a negative kernel or a
// repeated axis would end its process.
#ifndef GLUON_RESNET_OPERATOR_TABLE_H_
#define GLUON_RESNET_OPERATOR_TABLE_H_

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace gluon_resnet {

enum class Kind {
  kTruth,    // True, False, 1, 0
  kWhole,    // a whole number
  kReal,     // a number
  kTuple,    // of whole numbers; a single one needs no brackets
  kWord,     // one of several words
  kNothing,  // anything; left out, because it does not affect predictions
};

struct Attribute {
  const char* name;
  Kind kind;
  double least = 0;  // of the number, or of each in a tuple
  double most = 0;
  size_t shortest = 0;  // tuple
  size_t longest = 0;
  const char* words = "";    // separated by spaces
  bool may_be_none = false;  // the value, or elements of a tuple
};

using Count = size_t (*)(const Node&);

struct Operator {
  Count inputs;
  Count outputs;  // that other nodes may read
  std::vector<Attribute> attributes;
  std::vector<const char*> required;  // attributes without a default
};

// The operators by their names in MXNet's files.
const std::map<std::string, Operator>& operator_table();
std::vector<std::string> operator_names();

// The value of an attribute that has been checked.
bool is_true(const Node& node, const char* attribute);
size_t whole_number(const Node& node, const char* attribute, size_t missing);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_OPERATOR_TABLE_H_
