"""The stages of a recipe, bound to artifacts.

Every function here reads artifacts (folders), calls the public function of a stage and returns its result, one type per stage; the stage
packages know nothing of recipes, stores and each other.
"""
