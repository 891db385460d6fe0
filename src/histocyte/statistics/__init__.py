"""How sure a number is: bootstrap over groups, paired differences, agreement of two counts, averages, ranks."""
