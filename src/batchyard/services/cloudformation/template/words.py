"""How AWS refuses functions with wrong arguments, where its words are known; each follows \"Template error: \"."""

JOIN = (
    "every Fn::Join object requires two parameters, (1) a string delimiter and (2) a list of strings to be joined or a function that"
    " returns a list of strings (such as Fn::GetAZs) to be joined."
)
SPLIT = (
    "every Fn::Split object requires two parameters, (1) a string delimiter and (2) a string to be split or a function that returns"
    " a string to be split."
)
SELECT = "Fn::Select requires a list argument with two elements: an integer index and a list"
FIND = "every Fn::FindInMap object requires three parameters, the map name, map key and the attribute for return value"
IF = "Fn::If requires a list argument with the first element being a condition"
BASE64 = "every Fn::Base64 object must have a String-typed value."
ZONES = "every Fn::GetAZs object must have a String-typed value."
CIDR = "every Fn::Cidr object requires a block of addresses, a count from 1 to 256 and the number of bits of each block"
IMPORT = "every Fn::ImportValue object must have a String-typed value."
IMPORT_DEPENDS = "the attribute in Fn::ImportValue must not depend on any resources, imported values, or Fn::GetAZs"
EXPORT_DEPENDS = "the Name of the Export of output {} must not depend on any resources"
LENGTH = "every Fn::Length object requires a list"
UNSUPPORTED = (
    "Encountered unsupported function: {} Supported functions are: [Fn::Base64, Fn::GetAtt, Fn::GetAZs, Fn::ImportValue, Fn::Join,"
    " Fn::Split, Fn::FindInMap, Fn::Select, Ref, Fn::Equals, Fn::If, Fn::Not, Condition, Fn::And, Fn::Or, Fn::Contains,"
    " Fn::EachMemberEquals, Fn::EachMemberIn, Fn::ValueOf, Fn::ValueOfAll, Fn::RefAll, Fn::Sub, Fn::Cidr]"
)
COLLAPSED = "{} cannot be partially collapsed"  # a condition function outside of conditions
GET_ATT = "every Fn::GetAtt object requires two non-empty parameters, the resource name and the resource attribute"
SUB_VALUES = "every value of the context object of every Fn::Sub object must be a string or a function that returns a string"
STACK_OUTPUT = "every Fn::GetStackOutput object requires a StackName and an OutputName"
EQUALS = "every Fn::Equals object requires a list of 2 string parameters."
NOT = "every Fn::Not object requires a list with exactly 1 boolean parameter."
MANY = "every {} object requires a list of at least 2 and at most 10 boolean parameters."
CONTAINS = "every Fn::Contains object requires two parameters, (1) a list of strings and (2) a string"
EACH = "every {} object requires two lists of strings"
OF_ALL = "every {} object requires a parameter type or parameter and an attribute"
