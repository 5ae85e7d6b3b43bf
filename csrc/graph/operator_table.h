// The operators of networks that classify images, and what each of their attributes may be.
//
// The bounds are those within which MXNet 1.9.1 either computes or says what is wrong: a negative
// kernel or an axis that comes twice ends its process.
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
  kTuple,    // of whole numbers; a single one may stand without brackets
  kWord,     // one of some words
  kNothing,  // anything: it is left out, because it does not change what a prediction computes
};

struct Attribute {
  const char* name;
  Kind kind;
  double least = 0;  // a number, or each of a tuple
  double most = 0;
  size_t shortest = 0;  // tuple
  size_t longest = 0;
  const char* words = "";    // separated by spaces
  bool may_be_none = false;  // the value, or some of a tuple's
};

using Count = size_t (*)(const Node&);

struct Operator {
  Count inputs;
  Count outputs;  // those that others may read
  std::vector<Attribute> attributes;
  std::vector<const char*> required;  // attributes without a default
};

// By the names that MXNet's files have for them.
const std::map<std::string, Operator>& operator_table();
std::vector<std::string> operator_names();

// Of an attribute that has been checked.
bool is_true(const Node& node, const char* attribute);
size_t whole_number(const Node& node, const char* attribute, size_t missing);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_OPERATOR_TABLE_H_
